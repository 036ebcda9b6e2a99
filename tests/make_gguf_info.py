"""Writes tests/vectors/gguf/info.json: `PYTHONPATH=pysrc python -m tests.make_gguf_info`. Any host with Python.

Headers of models of real sizes, made from `struct`; what they tell is Python's `gguf_info`, which tests hold against the compiler's plan
and against figures written by hand. JavaScript must tell the same.
"""

import json
from pathlib import Path

from edgenet.formats import gguf_info
from edgenet.formats.gguf import read_header
from edgenet.formats.types import FILE_TYPES, TYPES
from edgenet.kernels.lm import layouts

from .gguf_bytes import header, pair, tensor

TARGET = Path(__file__).parent / "vectors" / "gguf" / "info.json"
WORDS = [
    ("tokenizer.ggml.model", "string", "gpt2"),
    ("tokenizer.ggml.pre", "string", "qwen2"),
    ("tokenizer.ggml.tokens", "[string]", ["a", "b", "c"]),
]
CHAT = [
    ("tokenizer.chat_template", "string", "{{ messages }}"),
    ("general.file_type", "u32", 2),
    ("general.name", "string", "Small"),
    ("general.license", "string", "apache-2.0"),
]
ASKS = [{}, {"context": 512}, {"context": 100_000, "kv": "q8"}, {"kv": "q4", "sequences": 1}]


def layers(count, width, kv, ffn, kind):
    """(name, shape, type) of a llama's layers."""
    for i in range(count):
        yield from ((f"blk.{i}.{n}.weight", shape, kind) for n, shape in [
            ("attn_q", (width, width)), ("attn_k", (kv, width)), ("attn_v", (kv, width)), ("attn_output", (width, width)),
            ("ffn_gate", (ffn, width)), ("ffn_up", (ffn, width)), ("ffn_down", (width, ffn)),
        ])  # fmt: skip
        yield f"blk.{i}.attn_norm.weight", (width,), "f32"


def sizes(architecture, **values):
    """The metadata of a model's sizes."""
    return [
        ("general.architecture", "string", architecture),
        *((f"{architecture}.{k}", "u32", v) for k, v in values.items()),
    ]


def heads(architecture, count, kv):
    """The metadata of attention heads; `kv` may be a list, one number per layer."""
    kind = "[i32]" if isinstance(kv, list) else "u32"
    return [
        (f"{architecture}.attention.head_count", "u32", count),
        (f"{architecture}.attention.head_count_kv", kind, kv),
    ]


def file(metadata, tensors):
    """(bytes of the header, size of the file) with the tensors one behind the other."""
    rows, offset = [], 0
    for name, shape, kind in tensors:
        rows.append(tensor(name, shape[::-1], TYPES[kind].id, offset))
        size = TYPES[kind].bytes
        for side in shape:
            size *= side
        offset += -(-size // TYPES[kind].elements // 32) * 32
    raw = header([pair(*row) for row in metadata], rows)
    return raw, len(raw) + -len(raw) % 32 + offset


def rows():
    """(why, metadata, tensors)."""
    metadata = sizes("qwen2", context_length=32768, block_count=2, embedding_length=896, feed_forward_length=4864)
    metadata += heads("qwen2", 14, 2) + WORDS + CHAT
    weights = [("token_embd.weight", (151936, 896), "q8_0"), *layers(2, 896, 128, 4864, "q4_0")]
    yield "a small model with a chat template", metadata, weights
    metadata = sizes("llama", context_length=131072, block_count=4, embedding_length=16384, feed_forward_length=53248)
    metadata += heads("llama", 128, 8) + [("general.file_type", "u32", 999)]
    weights = [("token_embd.weight", (128256, 16384), "q6_k"), *layers(4, 16384, 1024, 53248, "q4_k")]
    yield "a model that cannot fit, of an unknown mix", metadata, weights
    metadata = sizes("gemma3n", context_length=100, block_count=3, embedding_length=256)
    metadata += heads("gemma3n", 4, [1, 4, 2]) + [("gemma3n.attention.key_length", "u32", 48)]
    weights = [("w", (32, 256), "f16"), ("v", (32, 256), "iq4_nl"), ("u", (2, 3, 4), "f32")]
    yield "heads that differ by layer, a short context", metadata, weights
    yield "a file that says nothing of itself", [], [("w", (8,), "f32")]
    yield "an architecture alone", [("general.architecture", "string", "new"), *WORDS], []


def told(why, metadata, tensors):
    """A row of the file."""
    raw, size = file(metadata, tensors)
    found = read_header(lambda offset, length: raw[offset : offset + length].ljust(length, b"\0"), size)
    memory = [{"ask": ask, "found": gguf_info.memory(found, **ask)} for ask in ASKS]
    return {"why": why, "hex": raw.hex(), "size": size, "info": gguf_info.describe(found), "memory": memory}


def tables():
    """The tables that JavaScript has a twin of."""
    kept = {kind: layouts.layout_of(kind) for kind in layouts.TYPES}
    return {
        "types": [[t.name, t.id, t.elements, t.bytes] for t in TYPES.values()],
        "fileTypes": {str(number): name for number, name in FILE_TYPES.items()},
        "kept": {kind: [layout.rows, layout.columns, layout.unit] for kind, layout in kept.items()},
    }


def main():
    """Write the file."""
    body = ",\n".join(" " + json.dumps(told(*row), ensure_ascii=False) for row in rows())
    note = json.dumps("What GGUF headers tell; made by tests/make_gguf_info.py.")
    TARGET.write_text(f'{{"note": {note}, "rows": [\n{body}\n],\n"tables": {json.dumps(tables())}}}\n')


if __name__ == "__main__":
    main()
