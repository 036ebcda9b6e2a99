"""Small random models of every architecture, as GGUF tensors: the same bytes from the seed wherever NumPy runs. Needs no torch.

Weights are drawn so that mistakes show: norms are not 1, biases not 0, caps and windows are tight, sizes differ from one another.
"""

import base64
from dataclasses import dataclass, field

import numpy as np

from edgenet.formats.blocks import dequantize
from edgenet.formats.types import row_bytes
from tools.oracles.small_blocks import draw_blocks, kind_of

SEED = 20261121
VOCABULARY = 300
ENCODERS = ("bert", "nomic-bert")
ROWS = 3  # of each prompt's end that are compared

# Tensors by architecture, outside and inside the blocks: name, sizes; "+" after a name: it has a bias too.
# d width, q k heads times head, f feed-forward, h one head, v vocabulary, p positions, t types, a q + 2 k, g 2 f.
_GATED = "ffn_gate:f,d ffn_up:f,d ffn_down:d,f"
_QKV = "attn_q:q,d attn_k:k,d attn_v:k,d attn_output:d,q"
TENSORS = {
    "llama": ("token_embd:v,d output_norm:d output:v,d", f"attn_norm:d {_QKV} ffn_norm:d {_GATED}"),
    "qwen2": (
        "token_embd:v,d output_norm:d",
        f"attn_norm:d attn_q+:q,d attn_k+:k,d attn_v+:k,d attn_output:d,q ffn_norm:d {_GATED}",
    ),
    "qwen3": ("token_embd:v,d output_norm:d", f"attn_norm:d {_QKV} attn_q_norm:h attn_k_norm:h ffn_norm:d {_GATED}"),
    "phi2": (
        "token_embd:v,d output_norm+:d output+:v,d",
        "attn_norm+:d attn_q+:q,d attn_k+:k,d attn_v+:k,d attn_output+:d,q ffn_up+:f,d ffn_down+:d,f",
    ),
    "phi3": (
        "token_embd:v,d output_norm:d output:v,d",
        "attn_norm:d attn_qkv:a,d attn_output:d,q ffn_norm:d ffn_up:g,d ffn_down:d,f",
    ),
    "gemma": ("token_embd:v,d output_norm:d", f"attn_norm:d {_QKV} ffn_norm:d {_GATED}"),
    "gemma2": (
        "token_embd:v,d output_norm:d",
        f"attn_norm:d {_QKV} post_attention_norm:d ffn_norm:d {_GATED} post_ffw_norm:d",
    ),
    "bert": (
        "token_embd:v,d token_types:t,d position_embd:p,d token_embd_norm+:d",
        "attn_q+:q,d attn_k+:k,d attn_v+:k,d attn_output+:d,q attn_output_norm+:d ffn_up+:f,d ffn_down+:d,f layer_output_norm+:d",
    ),
    "nomic-bert": (
        "token_embd:v,d token_types:t,d token_embd_norm+:d",
        f"attn_qkv:a,d attn_output:d,q attn_output_norm+:d {_GATED} layer_output_norm+:d",
    ),
}
_RMS, _LN = "attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon"
_BASE = {
    "context_length": 128,
    "embedding_length": 64,
    "block_count": 2,
    "feed_forward_length": 96,
    "attention.head_count": 4,
    "attention.head_count_kv": 2,
    "vocab_size": VOCABULARY,
}
_ENCODER = {"attention.head_count_kv": 4, _LN: 1e-12, "attention.causal": False, "tokenizer.ggml.token_type_count": 2}
_LLAMA = {_RMS: 1e-5, "rope.dimension_count": 16}


@dataclass(frozen=True)
class Small:
    """`changes`: metadata beside _BASE, keys without the architecture; `mixed`: matrices are K-quants, drawn as blocks."""

    architecture: str
    changes: dict
    why: str
    extra: dict = field(default_factory=dict)  # name → values of short tensors
    swap: tuple[str, str] = ("", "")  # a text in the blocks' tensors and what replaces it
    mixed: bool = False

    def value(self, key: str):
        """A metadata value by its key without the architecture, or None."""
        return (_BASE | self.changes).get(key)

    @property
    def vocabulary(self) -> int:
        return VOCABULARY

    @property
    def metadata(self) -> dict:
        """GGUF metadata, tokenizer left out."""
        values = _BASE | self.changes
        plain = {k: values.pop(k) for k in [k for k in values if k.startswith("tokenizer.")]}
        return (
            {"general.architecture": self.architecture}
            | {f"{self.architecture}.{k}": v for k, v in values.items()}
            | plain
        )

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """{tensor name: shape}, (out, in) for matrices."""
        outside, inside = TENSORS[self.architecture]
        inside = inside.replace(*self.swap) if self.swap[0] else inside
        rows = _rows(outside) + [
            r for i in range((_BASE | self.changes)["block_count"]) for r in _rows(inside, f"blk.{i}.")
        ]
        sizes = self.sizes()
        return {name: tuple(sizes[s] for s in letters.split(",")) for name, letters in rows}

    def sizes(self) -> dict[str, int]:
        m = _BASE | self.changes
        width, heads = m["embedding_length"], m["attention.head_count"]
        head = m.get("attention.key_length", width // heads)
        q, k, f = heads * head, m["attention.head_count_kv"] * head, m["feed_forward_length"]
        fixed = {"v": VOCABULARY, "p": m["context_length"], "t": 2}
        return {"d": width, "h": head, "q": q, "k": k, "a": q + 2 * k, "f": f, "g": 2 * f} | fixed

    def tensors(self) -> dict[str, np.ndarray]:
        """{tensor name: f32 values} in GGUF's layout and order."""
        shapes = self.shapes()
        made = {name: draw(name, shape, "output.weight" not in shapes) for name, shape in shapes.items()}
        for name, (kind, raw) in self.blocks().items():
            made[name] = dequantize(kind, raw, *shapes[name])
        return made | {name: np.asarray(values, np.float32) for name, values in self.extra.items()}

    def blocks(self) -> dict[str, tuple[str, bytes]]:
        """{matrix: (type, bytes)} of a mixed model."""
        wanted = {n: kind_of(n) for n, shape in self.shapes().items() if self.mixed and len(shape) == 2}
        return {
            n: (k, draw_blocks(random_bytes(n, self.shapes()[n][0] * row_bytes(k, self.shapes()[n][1])), k))
            for n, k in wanted.items()
        }


def _rows(text: str, prefix: str = "") -> list[tuple[str, str]]:
    """[(tensor name, size letters)] of a line of TENSORS."""
    rows = []
    for item in text.split():
        name, letters = item.split(":")
        plain = prefix + name.rstrip("+")
        rows.append((f"{plain}.weight", letters))
        if name.endswith("+"):
            rows.append((f"{plain}.bias", letters.split(",")[0]))
    return rows


def random_bytes(name: str, count: int) -> np.ndarray:
    """uint8 (count,), a whole number of 8."""
    return np.random.PCG64([SEED, *name.encode()]).random_raw(-(-count // 8)).view(np.uint8)[:count].copy()


def uniform(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers of mean 0 and variance 1, f32. Only the raw bits of PCG64 are used: NumPy promises those for good, its distributions not."""
    raw = np.random.PCG64([SEED, *name.encode()]).random_raw(int(np.prod(shape)))
    centred = (raw >> np.uint64(40)).astype(np.float64) / (1 << 23) - 1
    return (centred * 3**0.5).astype(np.float32).reshape(shape)


def packed(values: np.ndarray) -> str:
    """f32 little endian, base64."""
    return base64.b64encode(np.ascontiguousarray(values, "<f4").tobytes()).decode()


def draw(name: str, shape: tuple[int, ...], tied: bool) -> np.ndarray:
    """Values of one tensor, by what it is."""
    values = uniform(name, shape)
    if name.endswith(".bias"):
        return np.float32(0.3) * values
    if len(shape) == 1:
        return np.float32(1) + np.float32(0.25) * values
    if "embd" in name or "types" in name:
        return values * np.float32(shape[1] ** -0.5 if tied else 1)  # else every token would predict itself
    return values * np.float32(shape[1] ** -0.5 * (1.5 if "attn_q" in name or "attn_k" in name else 1))


def vocabulary(small: Small) -> dict:
    """Tokenizer metadata that a reader needs to open the file: the bytes as GPT-2 writes them, then made-up pieces, four special ones."""
    if small.architecture in ENCODERS:
        pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"] + [f"\u2581w{i}" for i in range(VOCABULARY - 4)]
        kinds = [3] * 4 + [1] * (VOCABULARY - 4)
        special = {
            "unknown_token_id": 1,
            "seperator_token_id": 3,
            "padding_token_id": 0,
            "cls_token_id": 2,
            "bos_token_id": 2,
        }
        model = {"model": "bert", "pre": "jina-v2-en"}
    else:
        shown = [
            chr(b) if chr(b).isprintable() and not 127 <= b <= 160 and b not in (32, 173) else None for b in range(256)
        ]
        spare = iter(range(256, 512))
        pieces = [s or chr(next(spare)) for s in shown] + [f"x{i}" for i in range(VOCABULARY - 260)]
        pieces += [f"<|special{i}|>" for i in range(4)]
        kinds = [1] * (VOCABULARY - 4) + [3] * 4
        special = {"eos_token_id": VOCABULARY - 4, "merges": ["x 0", "x 1"]}
        model = {"model": "gpt2", "pre": "qwen2"}
    return {f"tokenizer.ggml.{k}": v for k, v in (model | {"tokens": pieces, "token_type": kinds} | special).items()}


def prompt(length: int) -> list[int]:
    """Token ids below the special ones."""
    return [int(v) for v in np.random.PCG64([SEED, length]).random_raw(length) % np.uint64(VOCABULARY - 4)]


PROMPTS = [
    prompt(length) for length in (5, 21, 45)
]  # within a window of 8, beyond it, beyond an original context of 32

_PHI3 = {_RMS: 1e-5, "rope.dimension_count": 16, "attention.head_count_kv": 2, "rope.freq_base": 10000.0}
_FACTORS = [1 + i / 4 for i in range(8)]


def llama3_divisors(base: float, size: int, factor=8.0, low=1.0, high=4.0, original=64) -> list[float]:
    """What llama.cpp's converter stores as rope_freqs: 1 for short waves, `factor` for long ones, a blend between."""
    found = []
    for i in range(size // 2):
        turns = original / (2 * np.pi * base ** (2 * i / size))  # within the original context
        blend = min(max((turns - low) / (high - low), 0.0), 1.0)
        found.append(1 / ((1 - blend) / factor + blend))
    return found


MODELS: dict[str, Small] = {
    "llama": Small("llama", _LLAMA, "grouped queries, pairs of neighbours, a head of its own"),
    "llama-3": Small(
        "llama",
        _LLAMA | {"rope.freq_base": 500000.0},
        "one divisor per frequency",
        extra={"rope_freqs.weight": llama3_divisors(500000.0, 16)},
    ),
    "mistral": Small(
        "llama",
        _LLAMA
        | {
            "attention.key_length": 24,
            "attention.value_length": 24,
            "rope.dimension_count": 24,
            "attention.sliding_window": 8,
        },
        "heads wider than their share, a sliding window",
    ),
    "qwen2": Small("qwen2", {_RMS: 1e-6, "rope.freq_base": 1000000.0}, "biases on q, k, v; a tied head"),
    "qwen2-yarn": Small(
        "qwen2",
        {
            _RMS: 1e-6,
            "rope.freq_base": 10000.0,
            "rope.scaling.type": "yarn",
            "rope.scaling.factor": 4.0,
            "rope.scaling.original_context_length": 32,
        },
        "YaRN with its magnitude",
    ),
    "qwen3": Small(
        "qwen3",
        {_RMS: 1e-6, "attention.key_length": 32, "attention.value_length": 32, "rope.freq_base": 1000000.0},
        "norms on queries and keys, wide heads",
    ),
    "phi2": Small(
        "phi2",
        {_LN: 1e-5, "attention.head_count_kv": 4, "rope.dimension_count": 8, "feed_forward_length": 256},
        "parallel residual, half of each head turns, biases everywhere",
    ),
    "phi2-fused": Small(
        "phi2",
        {_LN: 1e-5, "attention.head_count_kv": 4, "rope.dimension_count": 8, "feed_forward_length": 256},
        "q, k and v in one matrix with one bias",
        swap=("attn_q+:q,d attn_k+:k,d attn_v+:k,d", "attn_qkv+:a,d"),
    ),
    "phi3": Small(
        "phi3",
        _PHI3 | {"attention.sliding_window": 8, "rope.scaling.original_context_length": 128},
        "fused q, k, v and gate, up; a sliding window",
    ),
    "phi3-long": Small(
        "phi3",
        _PHI3
        | {
            "rope.scaling.original_context_length": 32,
            "rope.scaling.attn_factor": float((1 + np.log(4) / np.log(32)) ** 0.5),
            "attention.sliding_window": 0,
        },
        "two sets of divisors by the context's length, and a magnitude",
        extra={"rope_factors_long.weight": [2 * f for f in _FACTORS], "rope_factors_short.weight": _FACTORS},
    ),
    "gemma": Small(
        "gemma",
        {_RMS: 1e-6, "attention.key_length": 32, "attention.value_length": 32, "attention.head_count_kv": 1},
        "scaled embedding, GeGLU, one head of keys and values",
    ),
    "gemma2": Small(
        "gemma2",
        {
            _RMS: 1e-6,
            "block_count": 3,
            "attention.key_length": 32,
            "attention.value_length": 32,
            "attention.sliding_window": 8,
            "attn_logit_softcapping": 2.0,
            "final_logit_softcapping": 5.0,
        },
        "norms after each part, tight caps, every other layer sees a window",
    ),
    "llama-mixed": Small(
        "llama",
        _LLAMA
        | {
            "embedding_length": 256,
            "feed_forward_length": 512,
            "rope.dimension_count": 64,
        },
        "K-quants of 4, 5 and 6 bits side by side",
        mixed=True,
    ),
    "bert": Small("bert", _ENCODER | {"pooling_type": 1}, "learned positions, norms after each part, mean pooling"),
    "bert-cls": Small("bert", _ENCODER | {"pooling_type": 2}, "the first row as the text's vector"),
    "nomic-bert": Small(
        "nomic-bert",
        _ENCODER | {"pooling_type": 1, "rope.freq_base": 1000.0},
        "rotary positions, SwiGLU, q, k and v in one matrix",
    ),
}
