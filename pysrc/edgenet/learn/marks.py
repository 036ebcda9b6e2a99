"""What a person marked, as data: one Mark per (query, passage), the vectors it was made on, and the rows to learn from.

Pure: no model, no clock. Refuses vectors that are not finite, have no direction, or have another model's length."""

from dataclasses import dataclass, field, replace

import numpy as np

from ..errors import EmptyText, InvalidOption, NotFinite, WrongLength, WrongType
from .policy import Rows

RIVALS = 12  # passages kept beside a mark: the best ranked of those it was shown with
RIVALS_AGAIN = 24  # ... and when the same mark was made again on a later ranking
POOL = 768  # passages that one fit compares with; marked ones first, then rivals of the newest marks
SAME = 1 - 1e-5  # cosine from which two passages are the same text and cannot be told apart


@dataclass(frozen=True)
class Mark:
    n: int  # its number; never used again
    query: str
    passage: str  # the passage's id, opaque
    relevant: bool
    rivals: tuple[str, ...]  # ids of the passages shown with it, best first


@dataclass(frozen=True)
class Book:
    """All marks, and the vectors they speak of; every change makes a new Book, so a refused change leaves no trace."""

    marks: tuple[Mark, ...] = ()
    queries: dict = field(default_factory=dict)  # text -> float32 (d,), unit
    passages: dict = field(default_factory=dict)  # id -> float32 (d,), unit; the latest vector of an id counts
    next: int = 1

    def find(self, query, passage):
        return next((m for m in self.marks if (m.query, m.passage) == (query, passage)), None)

    def with_mark(self, mark, query_vector, passage_vectors):
        """Return the Book with `mark` added, in place of one on the same query and passage."""
        others = tuple(m for m in self.marks if (m.query, m.passage) != (mark.query, mark.passage))
        return Book(
            tuple(sorted((*others, mark), key=lambda m: m.n)),
            {**self.queries, mark.query: query_vector},
            {**self.passages, **passage_vectors},
            max(self.next, mark.n + 1),
        ).pruned()

    def without(self, numbers):
        """Return the Book without the marks of these numbers, as if they had never been made."""
        return replace(self, marks=tuple(m for m in self.marks if m.n not in numbers)).pruned()

    def without_passages(self, ids):
        """Return the Book after passages were deleted: their marks go, and they are nobody's rival any more."""
        kept = [m for m in self.marks if m.passage not in ids]
        kept = [replace(m, rivals=tuple(r for r in m.rivals if r not in ids)) for m in kept]
        return replace(self, marks=tuple(kept)).pruned()

    def pruned(self):
        """Return the Book with only the vectors that its marks name."""
        passages = {i for m in self.marks for i in (m.passage, *m.rivals)}
        queries = {m.query for m in self.marks}
        return replace(
            self,
            queries={k: v for k, v in self.queries.items() if k in queries},
            passages={k: v for k, v in self.passages.items() if k in passages},
        )


def known(book):
    """Return the ids to compare with, at most POOL: marked passages, then rivals, those of the newest marks first."""
    newest = book.marks[::-1]
    ids = dict.fromkeys([m.passage for m in newest] + [r for m in newest for r in m.rivals])
    return list(ids)[: max(POOL, len({m.passage for m in newest}))]


def rows_of(book, dim):
    """Return (marks, Rows): the triplets (query, wanted, beaten) of the marks with something to be ranked against."""
    ids = known(book)
    column = {i: c for c, i in enumerate(ids)}
    pool = np.array([book.passages[i] for i in ids], np.float32).reshape(len(ids), dim)
    rows = [(m, *(relevant_row if m.relevant else irrelevant_row)(m, book, column, pool)) for m in book.marks]
    rows = [row for row in rows if row[1].any() and row[2].any()]
    queries = np.array([book.queries[m.query] for m, *_ in rows], np.float32).reshape(len(rows), dim)
    wanted = np.array([w for _, w, _ in rows], np.float32).reshape(len(rows), len(ids))
    beaten = np.array([b for *_, b in rows], bool).reshape(len(rows), len(ids))
    return [m for m, *_ in rows], Rows(queries, pool, wanted, beaten)


def relevant_row(mark, book, column, pool):
    """The passage should beat all others, except those also relevant to the query and those of the same text."""
    wanted = np.zeros(len(pool), np.float32)
    wanted[column[mark.passage]] = 1
    beaten = pool @ pool[column[mark.passage]] < SAME
    beaten[[column[m.passage] for m in book.marks if m.query == mark.query and m.relevant]] = False
    return wanted, beaten


def irrelevant_row(mark, book, column, pool):
    """The passage should fall below the mean of what it was shown with, less what else was marked not relevant."""
    refused = {m.passage for m in book.marks if m.query == mark.query and not m.relevant}
    shown = [column[r] for r in mark.rivals if r in column and r not in refused]
    shown = shown or [c for i, c in column.items() if i not in refused]
    shown = [c for c in shown if pool[c] @ pool[column[mark.passage]] < SAME]
    wanted, beaten = np.zeros(len(pool), np.float32), np.zeros(len(pool), bool)
    wanted[shown] = 1 / max(len(shown), 1)
    beaten[column[mark.passage]] = True
    return wanted, beaten


def as_text(value, what):
    """Return `value` as it is; raise WrongType, or EmptyText where it has nothing but white space."""
    if not isinstance(value, str):
        raise WrongType(f"{what} must be a string, got {type(value).__name__}.", argument=what)
    if not value.strip():
        raise EmptyText(f"{what} is empty; a mark needs the words searched for and the passage's id.", argument=what)
    return value


def as_units(vectors, shape, what):
    """Return float32 rows of length 1; raise WrongLength, WrongType, NotFinite, or InvalidOption for a zero vector."""
    try:
        array = np.array(vectors, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise WrongType(f"{what} must be numbers: {error}.", argument=what) from None
    if array.shape != shape:
        raise WrongLength(
            f"{what} has shape {array.shape}, needed is {shape}: use vectors of the model taught.",
            argument=what,
            found=list(array.shape),
            needed=list(shape),
        )
    if not np.isfinite(array).all():
        raise NotFinite(f"{what} holds NaN or infinity; embed the text again and mark once more.", argument=what)
    length = np.linalg.norm(array.astype(np.float64), axis=-1, keepdims=True)
    if array.size and length.min() < 1e-12:
        raise InvalidOption(f"{what} holds a vector of length zero, which has no direction to compare.", argument=what)
    return (array / length).astype(np.float32)
