"""The encoder in plain NumPy: the definition that the ONNX files are compared with, and what calibration listens to."""

import math
from collections.abc import Callable

import numpy as np

from .graph import EPSILON
from .weights import HEADS, HIDDEN, LAYERS, layer_weights

_erf = np.vectorize(math.erf, otypes=[np.float64])
Listener = Callable[[str, np.ndarray, np.ndarray], None]  # (product's name, input [tokens, K], weight [K, N])


def gelu(x: np.ndarray) -> np.ndarray:
    """Exact GELU, by the error function (Hendrycks and Gimpel 2016)."""
    return 0.5 * x * (1 + _erf(x / math.sqrt(2)))


def layer_norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + EPSILON) * weight + bias


def attention(qkv: np.ndarray) -> np.ndarray:
    """qkv [tokens, 3*384] -> [tokens, 384]: softmax(q k^T / sqrt(32)) v for each of 12 heads."""
    q, k, v = (part.reshape(len(qkv), HEADS, -1).transpose(1, 0, 2) for part in np.split(qkv, 3, axis=1))
    scores = q @ k.transpose(0, 2, 1) / math.sqrt(HIDDEN // HEADS)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return (weights / weights.sum(-1, keepdims=True) @ v).transpose(1, 0, 2).reshape(len(qkv), HIDDEN)


def embed(tensors: dict[str, np.ndarray], ids: list[int], listen: Listener = lambda *_: None) -> np.ndarray:
    """One text's token ids (with [CLS] and [SEP]) -> float64 [384], unit length."""

    def product(name: str, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
        listen(name, x, weight)
        return x @ weight.astype(np.float64)

    get = lambda part: tensors[f"embeddings.{part}"].astype(np.float64)  # noqa: E731
    x = (
        get("word_embeddings.weight")[ids]
        + get("position_embeddings.weight")[: len(ids)]
        + get("token_type_embeddings.weight")[0]
    )
    x = layer_norm(x, get("LayerNorm.weight"), get("LayerNorm.bias"))
    for layer in range(LAYERS):
        at, w = f"layer{layer}", layer_weights(tensors, layer)
        y = product(f"{at}.out", attention(product(f"{at}.qkv", x, w["qkv"]) + w["qkv.bias"]), w["out"]) + w["out.bias"]
        x = layer_norm(x + y, w["norm1"], w["norm1.bias"])
        y = product(f"{at}.down", gelu(product(f"{at}.up", x, w["up"]) + w["up.bias"]), w["down"]) + w["down.bias"]
        x = layer_norm(x + y, w["norm2"], w["norm2.bias"])
    mean = x.mean(0)
    return mean / np.linalg.norm(mean)
