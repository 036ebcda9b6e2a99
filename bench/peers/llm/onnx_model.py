"""The random decoder as ONNX in the shape that is published for transformers.js: MatMulNBits (`q4`) or dynamic int8 (`q8`), with
GroupQueryAttention and past_key_values. One choice favours this peer: logits are computed for the last position only."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper, numpy_helper

from bench.peers.llm.shapes import QWEN05, Shape

MS = "com.microsoft"
INT4, INT8 = np.float32(0.02 / 4.6), np.float32(0.02 / 73)  # scales that give a standard deviation of 0.02


class Decoder:
    """Collects nodes and initialisers; one method per part of a layer."""

    def __init__(self, shape: Shape, variant: str):
        self.s, self.variant = shape, variant
        self.draw = np.random.default_rng(0)
        self.nodes, self.inits, self.quantised = [], [], set()
        self.ins = [
            helper.make_tensor_value_info(n, T.INT64, [1, axis])
            for n, axis in (("input_ids", "s"), ("attention_mask", "t"))
        ]
        self.outs = [helper.make_tensor_value_info("logits", T.FLOAT, [1, 1, shape.vocab])]

    def init(self, name, array):
        self.inits.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def node(self, op, ins, out, domain="", **attributes):
        outs = [out] if isinstance(out, str) else out
        self.nodes.append(helper.make_node(op, ins, outs, name=outs[0], domain=domain, **attributes))
        return outs[0]

    def linear(self, x, name, k, n, bias=False):
        """x (…, k) → (…, n)."""
        y = (self.dynamic_int8 if self.variant == "q8" else self.int4)(x, name, k, n)
        return (
            self.node(
                "Add", [y, self.init(name + ".b", self.draw.normal(0, 0.02, n).astype(np.float32))], name + ".biased"
            )
            if bias
            else y
        )

    def int4(self, x, name, k, n):
        packed = self.init(name + ".q", self.draw.integers(0, 256, (n, k // 32, 16), np.uint8))
        scale = self.init(name + ".s", np.full(n * k // 32, INT4))
        return self.node("MatMulNBits", [x, packed, scale], name + ".out", MS, K=k, N=n, bits=4, block_size=32)

    def dynamic_int8(self, x, name, k, n):
        if x not in self.quantised:
            self.quantised.add(x)
            self.node("DynamicQuantizeLinear", [x], [x + ".q8", x + ".scale", x + ".zp"])
        w, zero = (
            self.init(name + ".q", self.draw.integers(-127, 128, (k, n), np.int8)),
            self.init(name + ".zp", np.int8(0)),
        )
        acc = self.node("MatMulInteger", [x + ".q8", w, x + ".zp", zero], name + ".acc")
        scale = self.node("Mul", [x + ".scale", self.init(name + ".s", INT8)], name + ".scale")
        return self.node("Mul", [self.node("Cast", [acc], name + ".f", to=T.FLOAT), scale], name + ".out")

    def lengths(self):
        """The two lengths GroupQueryAttention asks for, and its rotary tables."""
        one = self.init("one", np.array([1], np.int64))
        total = self.node("ReduceSum", ["attention_mask", one], "mask_sum", keepdims=0)
        last = self.node("Cast", [self.node("Sub", [total, one], "mask_sum_1")], "seqlens_k", to=T.INT32)
        columns = self.node(
            "Gather",
            [self.node("Shape", ["attention_mask"], "mask_shape"), self.init("idx1", np.int64(1))],
            "total64",
            axis=0,
        )
        angles = np.outer(
            np.arange(self.s.context), self.s.rope_theta ** (-np.arange(0, self.s.head_dim, 2) / self.s.head_dim)
        )
        tables = [self.init(n, f(angles).astype(np.float32)) for n, f in (("cos", np.cos), ("sin", np.sin))]
        return [last, self.node("Cast", [columns], "total_seq_len", to=T.INT32), *tables]

    def embedding(self):
        s = self.s
        if self.variant != "q8":
            return self.node(
                "Gather",
                [self.init("embed", self.draw.normal(0, 0.02, (s.vocab, s.hidden)).astype(np.float32)), "input_ids"],
                "x0",
            )
        table = self.init("embed", self.draw.integers(-127, 128, (s.vocab, s.hidden), np.int8))
        return self.node(
            "DequantizeLinear", [self.node("Gather", [table, "input_ids"], "rows"), self.init("embed.s", INT8)], "x0"
        )

    def attention(self, i, y, lengths):
        s, at = self.s, f"l{i}."
        rows = [
            self.linear(y, at + n, s.hidden, width, bias=True)
            for n, width in (("q", s.hidden), ("k", s.kv), ("v", s.kv))
        ]
        past, present = ([f"{which}.{i}.{n}" for n in ("key", "value")] for which in ("past_key_values", "present"))
        for names, into, axis in ((past, self.ins, "p"), (present, self.outs, "t")):
            into += [helper.make_tensor_value_info(n, T.FLOAT, [1, s.kv_heads, axis, s.head_dim]) for n in names]
        a = self.node(
            "GroupQueryAttention", [*rows, *past, *lengths], [at + "att", *present], MS,
            num_heads=s.heads, kv_num_heads=s.kv_heads, do_rotary=1,
        )  # fmt: skip
        return self.linear(a, at + "o", s.hidden, s.hidden)

    def feed_forward(self, i, y):
        s, at = self.s, f"l{i}."
        gate, up = (self.linear(y, at + n, s.hidden, s.ffn) for n in ("gate", "up"))
        silu = self.node("Mul", [gate, self.node("Sigmoid", [gate], at + "sig")], at + "silu")
        return self.linear(self.node("Mul", [silu, up], at + "act"), at + "down", s.ffn, s.hidden)

    def build(self):
        norm, lengths, x = self.init("norm", np.ones(self.s.hidden, np.float32)), self.lengths(), self.embedding()
        y = self.node("SimplifiedLayerNormalization", [x, norm], "n0", axis=-1, epsilon=1e-6, stash_type=1)
        for i in range(self.s.layers):
            at = f"l{i}."
            y = self.add_norm(x, self.attention(i, y, lengths), norm, at + "n2", at + "x1")
            x, last = at + "x2", i == self.s.layers - 1
            y = self.add_norm(at + "x1", self.feed_forward(i, y), norm, at + "n1", "" if last else x)
        row = self.node("Gather", [y, self.init("last", np.array([-1], np.int64))], "last_hidden", axis=1)
        self.node("Identity", [self.linear(row, "lm_head", self.s.hidden, self.s.vocab)], "logits")
        return helper.make_graph(self.nodes, "random decoder", self.ins, self.outs, self.inits)

    def add_norm(self, x, y, norm, out, total):
        outs = [out, "", "", total] if total else [out]
        return self.node("SkipSimplifiedLayerNormalization", [x, y, norm], outs, MS, epsilon=1e-6)


def write(path: Path, variant="q4", shape=QWEN05):
    """Write the file, whole or not at all."""
    model = helper.make_model(
        Decoder(shape, variant).build(), opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid(MS, 1)]
    )
    model.ir_version = 9
    part = path.with_suffix(".part")
    onnx.save(model, str(part))
    part.replace(path)
