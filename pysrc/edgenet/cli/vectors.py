"""Vectors as files: JSON lines and .npz. CPython."""

import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Part:
    """One text that is embedded, and where it is from; `line` is 1-based."""

    file: str
    line: int
    text: str


def rows_of(parts: list[Part], vectors: np.ndarray) -> list[dict]:
    """One JSON object per text; vectors f32 (n, d) with the shortest digits that give the same f32 back."""
    return [
        {"file": p.file, "line": p.line, "text": p.text, "embedding": [float(str(x)) for x in v]}
        for p, v in zip(parts, vectors.astype(np.float32), strict=True)
    ]


def jsonl(parts: list[Part], vectors: np.ndarray) -> bytes:
    """One JSON object per line, UTF-8."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows_of(parts, vectors)).encode()


def npz(parts: list[Part], vectors: np.ndarray) -> bytes:
    """An .npz without pickles: embeddings f32 (n, d), files, lines i32, texts."""
    buffer = io.BytesIO()
    np.savez(
        buffer,
        embeddings=vectors.astype(np.float32),
        files=np.array([p.file for p in parts], np.str_),
        lines=np.array([p.line for p in parts], np.int32),
        texts=np.array([p.text for p in parts], np.str_),
    )
    return buffer.getvalue()


WRITERS = {".npz": npz, ".jsonl": jsonl, "-": jsonl}


def suffix(output: str) -> str:
    """The key of WRITERS that an output name asks for."""
    return output if output == "-" else Path(output).suffix.lower()
