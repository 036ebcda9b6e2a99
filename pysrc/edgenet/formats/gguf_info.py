"""What a GGUF header tells a person before anything is loaded: sizes, mix of types, tokenizer, memory. Imports no NumPy; runs anywhere.

Twin of `web/formats/gguf-info.js`, which tells the same of a dropped file; both are tested against `tests/vectors/gguf/info.json`. Fields
that a file lacks are None: only what it says with a wrong type is an error.
"""

from collections.abc import Iterable
from math import prod

from ..kernels.lm import layouts, table
from .gguf import Header, TensorInfo
from .types import file_type

MEMORY_LIMIT = (1 << 32) - 65536  # what 32-bit WebAssembly can address, less one page
CONTEXT, ROWS, WANTED, SEQUENCES, PAGE = 2048, 32, 4, 4, 16  # what a session is planned for unless it asks otherwise


def describe(header: Header) -> dict:
    """The description as JSON data. `types`: type → {"tensors", "weights", "bytes"}, the largest first; counts of weights are exact.

    Raises InvalidGguf where a value that is there has the wrong type.
    """
    tensors = header.tensors.values()
    types = mix(tensors)
    architecture = header.get("general.architecture", str, None)
    return {
        "name": header.get("general.name", str, None),
        "architecture": architecture,
        "version": header.version,
        "size": header.size,
        "headerBytes": header.data_offset,
        "tensors": len(header.tensors),
        "parameters": sum(row["weights"] for row in types.values()),
        "quantization": file_type(header.metadata) or next(iter(types), "").upper() or None,
        "types": types,
        **{name: _count(header, architecture, key) for name, key in _COUNTS.items()},
        "vocabulary": _vocabulary(header),
        "tokenizer": header.get("tokenizer.ggml.model", str, None),
        "pretokenizer": header.get("tokenizer.ggml.pre", str, None),
        "chatTemplate": bool(header.get("tokenizer.chat_template", str, "")),
        "license": header.get("general.license", str, None),
    }


_COUNTS = {
    "context": "context_length",
    "layers": "block_count",
    "width": "embedding_length",
    "feedForward": "feed_forward_length",
    "heads": "attention.head_count",
    "kvHeads": "attention.head_count_kv",
    "headSize": "attention.key_length",
}


def is_encoder(architecture: str) -> bool:
    """Whether models of this architecture embed texts: all others generate."""
    return architecture.endswith("bert")


def _count(header: Header, architecture: str | None, key: str) -> int | None:
    """A count of the architecture; of one given per layer, the largest."""
    value = header.metadata.get(f"{architecture}.{key}")
    if isinstance(value, int | float | str | bool) or value is None:
        return header.get(f"{architecture}.{key}", int, None)
    return max(value, default=None) if header.types[f"{architecture}.{key}"] in ("[i32]", "[u32]") else None


def _vocabulary(header: Header) -> int | None:
    """Rows of the token embeddings, or the number of tokens; None for a model without either."""
    embeddings = header.tensors.get("token_embd.weight")
    if embeddings and len(embeddings.shape) == 2:
        return embeddings.shape[0]
    tokens = header.get("tokenizer.ggml.tokens", list, None)
    return None if tokens is None else len(tokens)


def mix(tensors: Iterable[TensorInfo]) -> dict[str, dict[str, int]]:
    """Type → how many tensors, weights and bytes have it; the type of most weights first."""
    rows: dict[str, dict[str, int]] = {}
    for tensor in tensors:
        row = rows.setdefault(tensor.type, {"tensors": 0, "weights": 0, "bytes": 0})
        row["tensors"] += 1
        row["weights"] += prod(tensor.shape)
        row["bytes"] += tensor.bytes
    return dict(sorted(rows.items(), key=lambda item: -item[1]["weights"]))


def memory(header: Header, context: int = 0, kv: str = "f32", sequences: int = SEQUENCES) -> dict | None:
    """Bytes that a session with this model needs, told before anything is loaded: {"context", "weights", "kv", "work", "total", "limit"}.

    context: tokens of one sequence (0: 2048, or the model's if shorter); kv: "f32", "q8" or "q4". Weights and KV are what the engine
    lays out, `work` (activations, logits) an estimate. None for a file that does not say its sizes.
    """
    told = describe(header)
    if not all(told[name] for name in ("layers", "width", "heads", "context")):
        return None
    length = min(context or CONTEXT, told["context"])
    length = max(PAGE, length // PAGE * PAGE)
    kv_heads = told["kvHeads"] or told["heads"]
    head = told["headSize"] or told["width"] // told["heads"]
    page = table.kv_page_bytes(kv_heads, PAGE, head, table.KV_NAMES.index(kv))
    parts = {
        "weights": sum(map(_kept, header.tensors.values())),
        "kv": 2 * told["layers"] * sequences * (length // PAGE) * page,
        "work": 4 * ROWS * (6 * told["width"] + 3 * (told["feedForward"] or 0) + 2 * told["heads"] * head)
        + 8 * WANTED * (told["vocabulary"] or 0),
    }
    return {"context": length, **parts, "total": sum(parts.values()), "limit": MEMORY_LIMIT}


def _kept(tensor: TensorInfo) -> int:
    """Bytes of a tensor in the engine's layout; of a type that the engine has no layout for, its bytes in the file."""
    if len(tensor.shape) != 2:
        return 4 * prod(tensor.shape)
    if tensor.type not in layouts.TYPES:
        return tensor.bytes
    return layouts.kept_bytes(tensor.type, tensor.shape)
