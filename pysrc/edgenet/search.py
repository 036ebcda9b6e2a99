"""Search by meaning over a set of documents: an index keyed by content, so that only what changed is embedded again. Runs anywhere.

It opens no file and makes no session: documents, `split` and `embed` are passed in. Scores are dot products of unit vectors.
"""

import io
import json
import zipfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from .documents import Document, line_of
from .errors import EmptyText, OutputNotFinite, WrongLength
from .kernels import NumpyEngine
from .text import Passage

FORMAT = 1
BATCH = 32  # passages per call of the model


@dataclass(frozen=True)
class Hit:
    """One passage found. `line` is 1-based; `score` is the cosine with the query, -1 to 1."""

    name: str
    line: int
    score: float
    text: str


@dataclass
class Entry:
    """What is known of one content: passages, spans i32 (n, 2), vectors f32 (n, d), rows of unit length."""

    spans: np.ndarray
    vectors: np.ndarray


@dataclass
class Index:
    """Vectors by content digest. `model` names model, adapter and splitter: vectors of another one are of no use."""

    model: str
    entries: dict[str, Entry] = field(default_factory=dict)

    def stale(self, documents: Sequence[Document]) -> list[Document]:
        """The documents whose content is not in the index, each content once."""
        return list({d.digest: d for d in documents if d.digest not in self.entries}.values())

    def prune(self, documents: Sequence[Document]) -> int:
        """Forget contents that no document has any more; says how many."""
        gone = self.entries.keys() - {d.digest for d in documents}
        for digest in gone:
            del self.entries[digest]
        return len(gone)

    def search(self, query: np.ndarray, documents: Sequence[Document], k: int, engine=None) -> list[Hit]:
        """The k best passages of the documents for a query vector f32 (d,), best first, ties in the documents' order.

        Raises WrongLength if the query has another length than the vectors. Trap: documents not yet embedded are not found.
        """
        known = [d for d in documents if d.digest in self.entries]
        rows = [(d, int(start), int(end)) for d in known for start, end in self.entries[d.digest].spans]
        if not rows:
            return []
        m = _stack(self.entries[d.digest].vectors for d in known)
        if query.shape != m.shape[1:]:
            raise WrongLength(
                f"The query has {query.shape} numbers, the index {m.shape[1:]}; both must come from one model."
            )
        out = (engine or NumpyEngine()).run(
            "topk_dot", m=m, q=query, rows=len(m), d=m.shape[1], k=min(k, len(m)), threads=1
        )
        best = zip(out["index"].ravel(), out["score"].ravel(), strict=True)
        return [_hit(*rows[i], float(score)) for i, score in best if score > -np.inf]

    def dump(self) -> bytes:
        """The index as bytes (an .npz without pickles)."""
        digests = list(self.entries)
        buffer = io.BytesIO()
        head = json.dumps(
            {
                "format": FORMAT,
                "model": self.model,
                "digests": digests,
                "counts": [len(self.entries[d].spans) for d in digests],
            }
        )
        np.savez(
            buffer,
            head=np.frombuffer(head.encode(), np.uint8),
            spans=np.concatenate([self.entries[d].spans for d in digests] or [np.empty((0, 2), np.int32)]),
            vectors=_stack(self.entries[d].vectors for d in digests),
        )
        return buffer.getvalue()


def load_index(data: bytes | None, model: str) -> Index:
    """The index in `data` if it is one of this model; an empty one if there is none, it is broken, or of another model."""
    try:
        with np.load(io.BytesIO(data or b""), allow_pickle=False) as file:
            head = json.loads(file["head"].tobytes())
            spans, vectors = file["spans"], file["vectors"]
        if (head["format"], head["model"]) != (FORMAT, model) or not len(spans) == len(vectors) == sum(head["counts"]):
            return Index(model)
        ends = np.cumsum(head["counts"])
        rows = zip(head["digests"], ends - head["counts"], ends, strict=True)
        return Index(model, {digest: Entry(spans[a:b], vectors[a:b]) for digest, a, b in rows})
    except (
        ValueError,
        KeyError,
        TypeError,
        EOFError,
        OSError,
        NotImplementedError,
        zipfile.BadZipFile,
    ):  # whatever a broken file makes of itself
        return Index(model)


async def update(
    index: Index,
    documents: Sequence[Document],
    split: Callable[[str], Sequence[Passage]],
    embed: Callable[[list[str]], Awaitable[np.ndarray]],
    show=lambda done, total: None,
    checkpoint=lambda: None,
) -> int:
    """Embed what is not in the index; returns how many documents that were.

    `show(done, total)` counts characters; `checkpoint()` is called between batches.

    embed: texts → f32 (n, d). Raises OutputNotFinite if a vector is not finite; what was embedded before stays.
    """
    stale = index.stale(documents)
    done, total = 0, sum(len(document.text) for document in stale)
    for group in _groups(stale, split):
        texts = [document.text[a:b] for document, spans in group for a, b in spans]
        parts = []
        for start in range(0, len(texts), BATCH):
            show(min(total, done + sum(map(len, texts[:start]))), total)  # overlaps count twice
            parts.append(await embed(texts[start : start + BATCH]))
        _take(index, group, _stack(parts).astype(np.float32))
        done += sum(len(document.text) for document, _ in group)
        checkpoint()
    show(total, total)
    return len(stale)


def _groups(documents, split):
    """Documents with their spans, put together until a batch is full: many small files cost no more than one large one."""
    group, count = [], 0
    for document in documents:
        spans = [(p.start, p.end) for p in split(document.text) if document.text[p.start : p.end].strip()]
        group.append((document, spans))
        count += len(spans)
        if count >= BATCH:
            yield group
            group, count = [], 0
    if group:  # one without a passage, too: it would be looked at again by every search
        yield group


def _stack(parts) -> np.ndarray:
    """The rows of all parts, f32 (n, d); parts without a row, whose d is not known, are left out."""
    return np.concatenate([part for part in parts if len(part)] or [np.empty((0, 0), np.float32)])


def _take(index: Index, group, vectors: np.ndarray) -> None:
    at = 0
    for document, spans in group:
        own = vectors[at : at + len(spans)]
        at += len(spans)
        if not np.isfinite(own).all():
            raise OutputNotFinite(
                f"The model answered NaN or infinity for {document.name}; the file was not indexed.", file=document.name
            )
        index.entries[document.digest] = Entry(np.array(spans, np.int32).reshape(-1, 2), own)


async def search(index: Index, query: str, documents: Sequence[Document], embed, k: int = 10, engine=None) -> list[Hit]:
    """The k best passages for a query text. Raises EmptyText for an empty one."""
    if not query.strip():
        raise EmptyText("The query is empty. Say in your own words what you look for.")
    return index.search((await embed([query]))[0], documents, k, engine)


def _hit(document: Document, start: int, end: int, score: float) -> Hit:
    lead = len(document.text[start:end]) - len(document.text[start:end].lstrip())
    return Hit(document.name, line_of(document.text, start + lead), score, document.text[start:end].strip())
