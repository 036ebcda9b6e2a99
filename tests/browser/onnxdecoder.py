"""A tiny random Qwen2-like decoder as an ONNX folder of the Hugging Face layout, and what native onnxruntime says it answers.

Inputs input_ids, attention_mask, position_ids and past_key_values.N.key/value; outputs logits and present.N.key/value. Attention is made of
plain operators, so native and web runtimes share no fused kernel; the matrices of "q4" are com.microsoft's MatMulNBits; "fp16" keeps its cache
and gives its logits in half precision.
"""

import json

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from edgenet.text.gguf_tokenizer import tokenizer_json
from tools.oracles.small_models import MODELS, vocabulary

LAYERS, HEADS, KV_HEADS, WIDTH, HEAD, FEED, CONTEXT = 2, 4, 2, 64, 16, 96, 64
TOKENIZER = vocabulary(MODELS["qwen2"])
TOKENS = TOKENIZER["tokenizer.ggml.tokens"]
EOS = TOKENIZER["tokenizer.ggml.eos_token_id"]
BLOCK = 32
INTS, FLOATS, HALVES = TensorProto.INT64, TensorProto.FLOAT, TensorProto.FLOAT16
TEMPLATE = "{% for m in messages %}<|special1|>{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}<|special1|>assistant: {% endif %}"


class Builder:
    """Nodes and weights of one graph; `kind` is fp32, q4 or fp16."""

    def __init__(self, kind):
        self.kind, self.nodes, self.weights, self.random = kind, [], [], np.random.default_rng(7)

    def const(self, name, value):
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def ints(self, *values):
        return self.const(f"ints{len(self.weights)}", np.array(values, np.int64))

    def node(self, op, inputs, name=None, domain="", **attributes):
        name = name or f"{op}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, domain=domain, **attributes))
        return name

    def linear(self, x, name, out, width, bias=False):
        weight = self.random.normal(0, width**-0.5, (out, width)).astype(np.float32)
        y = (
            self.quantised(x, name, weight)
            if self.kind == "q4"
            else self.node("MatMul", [x, self.const(name, weight.T.copy())])
        )
        return (
            self.node("Add", [y, self.const(f"{name}.b", self.random.normal(0, 0.3, out).astype(np.float32))])
            if bias
            else y
        )

    def quantised(self, x, name, weight):
        """Blocks of 32 along the row, symmetric about 8, two weights a byte, the first in the low half."""
        out, width = weight.shape
        blocks = weight.reshape(out, -1, BLOCK)
        scale = np.abs(blocks).max(2, keepdims=True) / 7
        levels = np.clip(np.round(blocks / scale) + 8, 0, 15).astype(np.uint8)
        packed = self.const(f"{name}.q", levels[..., ::2] | levels[..., 1::2] << 4)
        scales = self.const(f"{name}.s", scale.reshape(-1).astype(np.float32))
        return self.node(
            "MatMulNBits", [x, packed, scales], domain="com.microsoft", K=width, N=out, bits=4, block_size=BLOCK
        )

    def norm(self, x, name, width=WIDTH):
        square = self.node("ReduceMean", [self.node("Mul", [x, x]), self.ints(-1)])
        root = self.node("Sqrt", [self.node("Add", [square, self.const(f"{name}.e", np.float32(1e-6))])])
        gain = self.const(name, (1 + 0.25 * self.random.normal(size=width)).astype(np.float32))
        return self.node("Mul", [self.node("Div", [x, root]), gain])

    def heads(self, x, count):
        """(1, n, count * HEAD) → (1, count, n, HEAD)."""
        return self.node("Transpose", [self.node("Reshape", [x, self.ints(0, 0, count, HEAD)])], perm=[0, 2, 1, 3])

    def rotate(self, x, cos, sin):
        half = self.ints(HEAD // 2)
        low = self.node("Slice", [x, self.ints(0), half, self.ints(3)])
        high = self.node("Slice", [x, half, self.ints(HEAD), self.ints(3)])
        turned = self.node("Concat", [self.node("Neg", [high]), low], axis=3)
        return self.node("Add", [self.node("Mul", [x, cos]), self.node("Mul", [turned, sin])])

    def angles(self):
        """(1, 1, n, HEAD) cos and sin at position_ids."""
        table = np.outer(np.arange(2 * CONTEXT), 10000.0 ** (-np.arange(0, HEAD, 2) / HEAD))
        whole = np.concatenate([table, table], 1)
        rows = (
            self.node("Gather", [self.const(f"{f.__name__}", f(whole).astype(np.float32)), "position_ids"])
            for f in (np.cos, np.sin)
        )
        return [self.node("Unsqueeze", [row, self.ints(1)]) for row in rows]

    def future(self):
        """(1, 1, n, total): what a position must not see, -1e9."""
        total = self.node(
            "Gather", [self.node("Shape", ["attention_mask"]), self.const("one", np.array(1, np.int64))], axis=0
        )
        seen = self.node(
            "Range", [self.const("zero", np.array(0, np.int64)), total, self.const("step", np.array(1, np.int64))]
        )
        later = self.node("Greater", [seen, self.node("Unsqueeze", ["position_ids", self.ints(2)])])
        mask = self.node("Mul", [self.node("Cast", [later], to=FLOATS), self.const("low", np.float32(-1e9))])
        return self.node("Unsqueeze", [mask, self.ints(1)])

    def attention(self, x, layer, angles, future):
        p = f"l{layer}"
        q = self.rotate(self.heads(self.linear(x, f"{p}.q", HEADS * HEAD, WIDTH, bias=True), HEADS), *angles)
        k = self.rotate(self.heads(self.linear(x, f"{p}.k", KV_HEADS * HEAD, WIDTH, bias=True), KV_HEADS), *angles)
        v = self.heads(self.linear(x, f"{p}.v", KV_HEADS * HEAD, WIDTH, bias=True), KV_HEADS)
        k, v = (self.cached(layer, part, new) for part, new in (("key", k), ("value", v)))
        groups = [i // (HEADS // KV_HEADS) for i in range(HEADS)]
        k, v = (self.node("Gather", [part, self.ints(*groups)], axis=1) for part in (k, v))
        scores = self.node("MatMul", [q, self.node("Transpose", [k], perm=[0, 1, 3, 2])])
        scores = self.node(
            "Add", [self.node("Mul", [scores, self.const(f"{p}.scale", np.float32(HEAD**-0.5))]), future]
        )
        mixed = self.node("MatMul", [self.node("Softmax", [scores], axis=-1), v])
        flat = self.node("Reshape", [self.node("Transpose", [mixed], perm=[0, 2, 1, 3]), self.ints(0, 0, -1)])
        return self.linear(flat, f"{p}.o", WIDTH, HEADS * HEAD)

    def cached(self, layer, part, new):
        """What came before and what is new, as f32; the same is given back as the next step's past."""
        past, present = f"past_key_values.{layer}.{part}", f"present.{layer}.{part}"
        if self.kind != "fp16":
            return self.node("Concat", [past, new], present, axis=2)
        whole = self.node("Concat", [self.node("Cast", [past], to=FLOATS), new], axis=2)
        self.node("Cast", [whole], present, to=HALVES)
        return whole

    def feed(self, x, layer):
        gate = self.linear(x, f"l{layer}.gate", FEED, WIDTH)
        gated = self.node(
            "Mul", [self.node("Mul", [gate, self.node("Sigmoid", [gate])]), self.linear(x, f"l{layer}.up", FEED, WIDTH)]
        )
        return self.linear(gated, f"l{layer}.down", WIDTH, FEED)

    def model(self):
        angles, future = self.angles(), self.future()
        table = self.random.normal(0, 1, (len(TOKENS), WIDTH)).astype(np.float32)
        x = self.node("Gather", [self.const("embed", table), "input_ids"])
        for layer in range(LAYERS):
            x = self.node("Add", [x, self.attention(self.norm(x, f"l{layer}.n1"), layer, angles, future)])
            x = self.node("Add", [x, self.feed(self.norm(x, f"l{layer}.n2"), layer)])
        logits = self.linear(self.norm(x, "n"), "head", len(TOKENS), WIDTH)
        kept = HALVES if self.kind == "fp16" else FLOATS
        self.node("Cast", [logits], "logits", to=kept)
        value = helper.make_tensor_value_info
        own = [
            value("input_ids", INTS, [1, "n"]),
            value("attention_mask", INTS, [1, "total"]),
            value("position_ids", INTS, [1, "n"]),
        ]
        caches = [(i, part) for i in range(LAYERS) for part in ("key", "value")]
        past = [value(f"past_key_values.{i}.{part}", kept, [1, KV_HEADS, "past", HEAD]) for i, part in caches]
        present = [value(f"present.{i}.{part}", kept, [1, KV_HEADS, "total", HEAD]) for i, part in caches]
        outputs = [value("logits", kept, [1, "n", len(TOKENS)]), *present]
        graph = helper.make_graph(self.nodes, "decoder", own + past, outputs, self.weights)
        opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()


def folder(weights):
    """{path: bytes} of a folder with `weights`: {"onnx/model_q4.onnx": bytes, …}."""
    config = {"model_type": "qwen2", "max_position_embeddings": CONTEXT, "vocab_size": len(TOKENS), "eos_token_id": EOS}
    own = {"eos_token_id": [EOS], "bos_token_id": None}
    beside = {
        "config": config,
        "generation_config": own,
        "tokenizer": tokenizer_json(TOKENIZER),
        "tokenizer_config": {"chat_template": TEMPLATE},
    }
    return {f"{name}.json": json.dumps(value).encode() for name, value in beside.items()} | weights


class Native:
    """The model in native onnxruntime: greedy tokens, and how far each was ahead of the second."""

    def __init__(self, model):
        self.session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])

    def greedy(self, tokens, count):
        caches = [i for i in self.session.get_inputs() if i.name.startswith("past")]
        kept = np.float16 if "float16" in caches[0].type else np.float32
        past = {i.name: np.zeros((1, KV_HEADS, 0, HEAD), kept) for i in caches}
        names = [o.name for o in self.session.get_outputs()]
        drawn, new, seen, lead = [], list(tokens), 0, np.inf
        for _ in range(count):
            rows = np.arange(seen, seen + len(new), dtype=np.int64)[None]
            mask = np.ones((1, seen + len(new)), np.int64)
            found = self.session.run(
                None, {"input_ids": np.array([new], np.int64), "attention_mask": mask, "position_ids": rows} | past
            )
            answer = dict(zip(names, found, strict=True))
            past = {name: answer[name.replace("past_key_values", "present")] for name in past}
            logits = answer["logits"][0, -1]
            second, first = np.partition(logits, -2)[-2:]
            seen, new, lead = seen + len(new), [int(logits.argmax())], min(lead, first - second)
            drawn += new
        return drawn, lead


def weights(kind):
    model = Builder(kind).model()
    onnx.checker.check_model(model)
    return model
