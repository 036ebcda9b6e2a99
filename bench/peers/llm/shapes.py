"""Qwen2.5-0.5B's shape with random weights, as GGUF and as ONNX: speed does not depend on the weights' values. CPython."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """A decoder of the Qwen2 family; sizes in elements."""

    layers: int = 24
    hidden: int = 896
    heads: int = 14
    kv_heads: int = 2
    head_dim: int = 64
    ffn: int = 4864
    vocab: int = 151_936
    rope_theta: float = 1e6
    context: int = 2048

    @property
    def kv(self) -> int:
        """Columns of K and of V."""
        return self.kv_heads * self.head_dim


QWEN05 = Shape()
