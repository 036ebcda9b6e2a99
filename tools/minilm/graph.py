"""The encoder as an ONNX graph of ONNX Runtime's fused operators; how a matrix product is done is passed in.

The embedding is finished inside the graph (mean over the tokens of the mask, unit length), so a run returns batch x 384
floats and no hidden state crosses into JavaScript. Opset 18 plus `com.microsoft` 1 (ONNX Runtime's contrib operators).
"""

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .weights import HEADS, LAYERS, SEQUENCE, layer_weights

CONTRIB = "com.microsoft"
EPSILON = 1e-12
Product = Callable[["Builder", str, str, np.ndarray], str]  # (builder, input, name, weight [K, N]) -> output


class Builder:
    """Collects nodes and initialisers; names count upwards, so equal calls give equal bytes."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, value: np.ndarray) -> str:
        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def op(
        self, kind: str, inputs: list[str], outputs: int = 1, contrib: bool = False, **attributes
    ) -> str | list[str]:
        """Append a node; its output's name, or the list of them when there are several."""
        stem = f"{kind}_{len(self.nodes)}"
        names = [stem] if outputs == 1 else [f"{stem}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, stem, domain=CONTRIB if contrib else "", **attributes))
        return names[0] if outputs == 1 else names


def embed_float(g: Builder, tensors: dict[str, np.ndarray]) -> str:
    """Token + position + type embedding and its LayerNorm in float32, one operator."""
    table, position = _tables(tensors)
    return g.op(
        "EmbedLayerNormalization",
        [
            "ids",
            "",
            g.constant("words", table),
            g.constant("positions", position),
            "",
            *_norm(g, "embeddings.norm", *_embedding_norm(tensors)),
        ],
        2,
        contrib=True,
        epsilon=EPSILON,
    )[0]


def embed_int8(g: Builder, tensors: dict[str, np.ndarray]) -> str:
    """The same from an int8 table with one scale per token, so the 47 MB table stays 12 MB in memory too."""
    table, position = _tables(tensors)
    scale = (np.abs(table).max(axis=1, keepdims=True) / 127).astype(np.float32)
    rows = g.op(
        "Cast",
        [g.op("Gather", [g.constant("words", np.rint(table / scale).astype(np.int8)), "ids"])],
        to=TensorProto.FLOAT,
    )
    rows = g.op("Mul", [rows, g.op("Gather", [g.constant("words.scale", scale), "ids"])])
    length = g.op("Slice", [g.op("Shape", ["ids"]), g.constant("one", np.array([1])), g.constant("two", np.array([2]))])
    place = g.op("Slice", [g.constant("positions", position), g.constant("zero", np.array([0])), length])
    return g.op(
        "LayerNormalization",
        [g.op("Add", [rows, place]), *_norm(g, "embeddings.norm", *_embedding_norm(tensors))],
        epsilon=EPSILON,
    )


def _tables(tensors: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Words [30522, 384] and positions [256, 384]; every token has type 0, so that row is added to the positions."""
    get = lambda name: tensors[f"embeddings.{name}_embeddings.weight"]  # noqa: E731
    return get("word"), get("position")[:SEQUENCE] + get("token_type")[0]


def _embedding_norm(tensors: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return tensors["embeddings.LayerNorm.weight"], tensors["embeddings.LayerNorm.bias"]


def _norm(g: Builder, name: str, weight: np.ndarray, bias: np.ndarray) -> list[str]:
    return [g.constant(name, weight), g.constant(f"{name}.bias", bias)]


def attend_fused(g: Builder, x: str, at: str, w: dict[str, np.ndarray]) -> str:
    """Projection and attention in one operator (float weights only)."""
    return g.op(
        "Attention",
        [x, g.constant(f"{at}.qkv", w["qkv"]), g.constant(f"{at}.qkv.bias", w["qkv.bias"]), "mask"],
        contrib=True,
        num_heads=HEADS,
    )


def attend_split(product: Product) -> Callable[..., str]:
    """The projection by `product`, then attention over its three parts."""

    def attend(g: Builder, x: str, at: str, w: dict[str, np.ndarray]) -> str:
        parts = g.op("Split", [product(g, x, f"{at}.qkv", w["qkv"])], 3, axis=-1, num_outputs=3)
        return g.op(
            "MultiHeadAttention",
            [*parts, g.constant(f"{at}.qkv.bias", w["qkv.bias"]), "mask"],
            contrib=True,
            num_heads=HEADS,
        )

    return attend


def product_float(g: Builder, x: str, name: str, weight: np.ndarray) -> str:
    """x @ weight in float32."""
    return g.op("MatMul", [x, g.constant(name, weight)])


def encoder_layer(
    g: Builder, x: str, at: str, w: dict[str, np.ndarray], attend: Callable[..., str], product: Product
) -> str:
    """BERT's post-norm layer: attention, add and norm, GELU (exact, by erf), add and norm."""
    y = product(g, attend(g, x, at, w), f"{at}.out", w["out"])
    x = _add_norm(g, y, x, f"{at}.norm1", w["out.bias"], w["norm1"], w["norm1.bias"])
    y = g.op("BiasGelu", [product(g, x, f"{at}.up", w["up"]), g.constant(f"{at}.up.bias", w["up.bias"])], contrib=True)
    y = product(g, y, f"{at}.down", w["down"])
    return _add_norm(g, y, x, f"{at}.norm2", w["down.bias"], w["norm2"], w["norm2.bias"])


def _add_norm(g: Builder, y: str, skip: str, name: str, bias: np.ndarray, weight: np.ndarray, shift: np.ndarray) -> str:
    return g.op(
        "SkipLayerNormalization",
        [y, skip, *_norm(g, name, weight, shift), g.constant(f"{name}.skip", bias)],
        contrib=True,
        epsilon=EPSILON,
    )


def pool(g: Builder, x: str) -> str:
    """Masked mean and unit length. The mean's divisor cancels in the norm, so one product with the mask is enough."""
    axis = g.constant("axis1", np.array([1]))
    mask = g.op("Unsqueeze", [g.op("Cast", ["mask"], to=TensorProto.FLOAT), axis])
    return g.op("LpNormalization", [g.op("Squeeze", [g.op("MatMul", [mask, x]), axis])], axis=-1, p=2)


def float_model(tensors: dict[str, np.ndarray], *, hidden_states: bool = False) -> onnx.ModelProto:
    """The reference. `hidden_states=True` gives the usual export's face: int64 inputs, `last_hidden_state`, no pooling."""
    return _model(tensors, embed_float, attend_fused, product_float, hidden_states)


def quantised_model(tensors: dict[str, np.ndarray], product: Product) -> onnx.ModelProto:
    """The same graph with an int8 word table and every matrix product done by `product`."""
    return _model(tensors, embed_int8, attend_split(product), product, False)


def _model(tensors, embed, attend, product, hidden_states: bool) -> onnx.ModelProto:
    g = Builder()
    names = ["input_ids", "attention_mask"] + (["token_type_ids"] if hidden_states else [])
    dtype = TensorProto.INT64 if hidden_states else TensorProto.INT32
    for source, target in zip(names, ("ids", "mask"), strict=False):
        g.nodes.append(
            helper.make_node("Cast", [source], [target], target, to=TensorProto.INT32)
            if hidden_states
            else helper.make_node("Identity", [source], [target], target)
        )
    x = embed(g, tensors)
    for layer in range(LAYERS):
        x = encoder_layer(g, x, f"layer{layer}", layer_weights(tensors, layer), attend, product)
    name, shape = ("last_hidden_state", ["batch", "tokens", 384]) if hidden_states else ("embedding", ["batch", 384])
    g.nodes.append(helper.make_node("Identity", [x if hidden_states else pool(g, x)], [name], name))
    inputs = [helper.make_tensor_value_info(n, dtype, ["batch", "tokens"]) for n in names]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)]
    graph = helper.make_graph(g.nodes, "all-MiniLM-L6-v2", inputs, outputs, list(g.constants.values()))
    return helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid(CONTRIB, 1)],
        ir_version=9,
        producer_name="edgenet",
    )
