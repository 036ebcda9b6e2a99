"""What was taught, as one JSON document and back: all or nothing, with a checksum. Pure; any host.

Vectors are base64 of little-endian float32, so that reading gives back the very numbers."""

import base64
import hashlib
import math
from dataclasses import asdict, dataclass

import numpy as np

from ..canonical import canonicalize
from ..errors import BackupInvalid, EdgeNetError
from .marks import Book, Mark, as_units

FORMAT, VERSION = "edgenet-teaching", 1


@dataclass(frozen=True)
class Content:
    model: str
    dim: int
    rank: int
    seed: int
    alpha: float
    book: Book
    A: np.ndarray  # float32 (dim, rank)
    B: np.ndarray  # float32 (rank, dim)


def write(model, options, dim, book, result):
    """Return the document: marks with their vectors, weights, and what they were learned with."""
    data = {
        "format": FORMAT,
        "version": VERSION,
        "model": model,
        "dim": dim,
        "rank": options.rank,
        "seed": options.seed,
        "alpha": options.alpha,
        "next": book.next,
        "marks": [{**asdict(m), "rivals": list(m.rivals)} for m in book.marks],
        "queries": {k: pack(v) for k, v in book.queries.items()},
        "passages": {k: pack(v) for k, v in book.passages.items()},
        "adapter": {"A": pack(result.A), "B": pack(result.B)},
    }
    return {**data, "checksum": checksum(data)}


def read(data, model=""):
    """Return the Content of a document; raise BackupInvalid saying what is wrong with it."""
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise BackupInvalid("This is no export of what was taught; choose a file that EdgeNet's teaching export wrote.")
    if data.get("version") != VERSION:
        found = data.get("version")
        raise BackupInvalid(f"The export has version {found!r}, this EdgeNet reads {VERSION}; update EdgeNet.")
    try:
        if data.get("checksum") != checksum({k: v for k, v in data.items() if k != "checksum"}):
            raise BackupInvalid("The export is damaged: its checksum does not fit. Export again; nothing was changed.")
        content = unpack_all(data)
    except BackupInvalid:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, EdgeNetError) as error:
        raise BackupInvalid(f"The export cannot be read: {type(error).__name__}: {error}. Nothing changed.") from None
    if model and content.model != model:
        raise BackupInvalid(
            f"This was taught on the model {content.model!r}, loaded is {model!r}: their vectors do "
            "not compare. Load that model, or teach this one anew.",
            found=content.model,
            needed=model,
        )
    return content


def unpack_all(data):
    dim, rank, seed, alpha = (data[name] for name in ("dim", "rank", "seed", "alpha"))
    if not all(type(v) is int for v in (dim, rank, seed, data["next"])) or not 1 <= rank <= min(16, dim):
        raise ValueError("dim, rank, seed and next must be whole numbers, rank 1 to 16")
    if isinstance(alpha, bool) or not math.isfinite(alpha) or not isinstance(data["model"], str):
        raise ValueError("alpha must be a number, model a string")
    vectors = [
        {k: as_units(unpack(v, (dim,)), (dim,), f"{name} {k!r}") for k, v in data[name].items()}
        for name in ("queries", "passages")
    ]
    marks = tuple(Mark(**{**m, "rivals": tuple(m["rivals"])}) for m in data["marks"])
    for m in marks:
        if type(m.n) is not int or type(m.relevant) is not bool:
            raise ValueError(f"mark {m.n} is malformed")
        if m.query not in vectors[0] or not {m.passage, *m.rivals} <= vectors[1].keys() or m.n >= data["next"]:
            raise ValueError(f"mark {m.n} names something that is not in the file")
    A, B = unpack(data["adapter"]["A"], (dim, rank)), unpack(data["adapter"]["B"], (rank, dim))
    if not (np.isfinite(A).all() and np.isfinite(B).all()):
        raise ValueError("weights are not finite")
    return Content(data["model"], dim, rank, seed, float(alpha), Book(marks, *vectors, data["next"]), A, B)


def checksum(data):
    """SHA-256 hex of the document's canonical JSON (RFC 8785)."""
    return hashlib.sha256(canonicalize(data)).hexdigest()


def pack(array):
    return base64.b64encode(np.ascontiguousarray(array, "<f4").tobytes()).decode()


def unpack(text, shape):
    return np.frombuffer(base64.b64decode(text, validate=True), "<f4").reshape(shape).astype(np.float32)
