"""The teacher: a person's "relevant" and "not relevant" marks in, an adapter of the query side out.

Whatever was marked, undone or replaced on the way, the adapter is a function of the marks that remain: each change
learns them all again from nothing (milliseconds, see docs/learning.md). Holds no model and no clock; passages keep
their vectors, only queries are adapted. Any host with NumPy."""

from dataclasses import replace

import numpy as np

from ..errors import DocumentNotFound, InvalidOption, NotFinite, NothingToUndo, WrongLength, WrongType
from . import saved
from .marks import RIVALS, RIVALS_AGAIN, Book, Mark, as_text, as_units, rows_of
from .policy import Fit, Options, apply, fit, forward


class Teacher:
    """Learns what a person means, for vectors of `dim` numbers from the model named `model`.

    dim    1 to 4096      rank   1 to 16, at most dim      seed   any int: equal marks and seeds give equal weights
    clock  a function returning seconds (say `time.perf_counter`); without it `milliseconds` is None
    Raises InvalidOption for numbers out of range. Trap: query and passage vectors must come from the same model."""

    def __init__(self, dim, rank=16, seed=0, model="", clock=None):
        for name, value, top in (("dim", dim, 4096), ("rank", rank, min(16, dim))):
            if not isinstance(value, int) or not 1 <= value <= top:
                raise InvalidOption(f"{name} must be a whole number from 1 to {top}, got {value!r}.", option=name)
        self.dim, self.model, self._clock = dim, model, clock
        self._options = Options(rank=rank, seed=int(seed))
        self._book = Book()
        self._fit, self._rows = self._learn(self._book)

    def mark(self, query_text, query_vector, passage_id, passage_vector, relevant, rivals, rival_ids):
        """Learn from one mark and return what it changed.

        query_vector   (dim,)  of the query BEFORE the adapter      passage_vector  (dim,)      relevant  bool
        rivals         (k, dim) current results without the marked one, best first; rival_ids their ids, k strings.
        Returns {n, before_rank, after_rank (1 is best, among the rivals and the passage), candidates, steps,
        loss_before, loss_after, milliseconds, held, unmet, replaced, message}. `held`: the mark is satisfied among all
        passages known from marks; `unmet`: numbers of marks that could not be satisfied; `message` says so, else "".
        The same mark made again keeps its number and learns from the new rivals too; the opposite mark takes its place
        (`replaced`). Raises WrongLength, WrongType, NotFinite, EmptyText, InvalidOption; then nothing has changed."""
        started = self._clock() if self._clock else None
        mark = self._mark_of(query_text, passage_id, relevant, rival_ids)
        vector, passages = self._vectors_of(mark, query_vector, passage_vector, rivals, rival_ids)
        old = self._book.find(mark.query, mark.passage)
        if old and old.relevant == mark.relevant:
            again = tuple(dict.fromkeys((*mark.rivals, *old.rivals)))[:RIVALS_AGAIN]
            mark, old = replace(mark, n=old.n, rivals=again), None
        shown = np.array([passages[i] for i in passages], np.float32)  # the marked passage is row 0
        before = rank_of_first(self.apply(vector), shown)
        self._keep(self._book.with_mark(mark, vector, passages))
        unmet = self.unmet()
        return {
            "n": mark.n,
            "before_rank": before,
            "after_rank": rank_of_first(self.apply(vector), shown),
            "candidates": len(shown),
            "steps": self._fit.steps,
            "loss_before": self._fit.loss_before,
            "loss_after": self._fit.loss_after,
            "unmet": unmet,
            "held": mark.n in self._rows and mark.n not in unmet,
            "milliseconds": None if started is None else (self._clock() - started) * 1000,
            "replaced": old.n if old else None,
            "message": self._message(mark, unmet),
        }

    def undo(self, n=None):
        """Take back mark `n`, or the last one; the adapter is then as if it had never been made. Returns `marks()`."""
        numbers = [m.n for m in self._book.marks]
        n = numbers[-1] if n is None and numbers else n
        if n not in numbers:
            found = numbers or "none"
            raise NothingToUndo(f"Mark {n} cannot be undone: the marks are {found}.", asked=n, found=numbers)
        self._keep(self._book.without({n}))
        return self.marks()

    def forget(self, passage_ids):
        """Drop passages that were deleted from the index, with their marks. Returns the numbers of the marks dropped.

        Raises DocumentNotFound where a mark-less, rival-less id is named: nothing has changed then."""
        ids, before = set(passage_ids), [m.n for m in self._book.marks]
        unknown = sorted(ids - self._book.passages.keys())
        if unknown:
            raise DocumentNotFound(f"No mark knows the passage {unknown[0]!r}; ask knows() first.", ids=unknown)
        self._keep(self._book.without_passages(ids))
        return [n for n in before if n not in {m.n for m in self._book.marks}]

    def reset(self):
        """Forget every mark; search is as it was before the first one. Numbers are not used again."""
        self._keep(Book(next=self._book.next))

    def marks(self):
        """Return [{n, query, passage, relevant}], oldest first."""
        return [{"n": m.n, "query": m.query, "passage": m.passage, "relevant": m.relevant} for m in self._book.marks]

    def knows(self, passage_id):
        """Return whether some mark names this passage, as marked or as a rival."""
        return passage_id in self._book.passages

    def unmet(self):
        """Return the numbers of the marks that the adapter does not satisfy, most often because they contradict."""
        return [n for n, lead in zip(self._rows, self._fit.lead, strict=True) if lead < 0]

    def adapter(self):
        """Return {A: float32 (dim, rank), B: float32 (rank, dim), alpha}: q' = unit(q + alpha (q A) B). Copies."""
        return {"A": self._fit.A.copy(), "B": self._fit.B.copy(), "alpha": self._options.alpha}

    def apply(self, vectors):
        """Return the adapted unit query vectors, float32 (dim,) or (n, dim) like `vectors`."""
        array = np.asarray(vectors)
        if array.ndim not in (1, 2):
            raise WrongLength(f"vectors must be (dim,) or (n, dim), got {array.ndim} axes.", found=list(array.shape))
        unit = as_units(array, (*array.shape[:-1], self.dim), "vectors")
        return apply(unit, self._fit.A, self._fit.B, self._options.alpha)

    def export(self):
        """Return everything learned as one JSON-safe dict with a checksum; `restore` reads it, exactly."""
        return saved.write(self.model, self._options, self.dim, self._book, self._fit)

    @classmethod
    def restore(cls, data, model="", clock=None):
        """Return the Teacher that `export` described. Raises BackupInvalid when the data are damaged, of another
        version, or taught on another model than `model` (when one is named). Weights are taken, not learned again."""
        content = saved.read(data, model)
        teacher = cls(content.dim, content.rank, content.seed, content.model, clock)
        teacher._book, teacher._options = content.book, replace(teacher._options, alpha=content.alpha)
        teacher._fit, teacher._rows = teacher._judge(content.book, content.A, content.B)
        return teacher

    # --- inside ---

    def _mark_of(self, query_text, passage_id, relevant, rival_ids):
        query, passage = as_text(query_text, "query_text"), as_text(passage_id, "passage_id")
        if not isinstance(relevant, (bool, np.bool_)):
            raise WrongType(f"relevant must be True or False, got {relevant!r}.", argument="relevant")
        others = dict.fromkeys(i for i in (as_text(i, "rival_ids") for i in rival_ids) if i != passage)
        return Mark(self._book.next, query, passage, bool(relevant), tuple(others)[:RIVALS])

    def _vectors_of(self, mark, query_vector, passage_vector, rivals, rival_ids):
        """Return (query vector, {id: vector}), the marked passage first, then its rivals."""
        rivals = np.reshape(rivals, (0, self.dim)) if not len(rivals) else rivals
        given = dict(zip(rival_ids, as_units(rivals, (len(rival_ids), self.dim), "rivals"), strict=True))
        passages = {mark.passage: as_units(passage_vector, (self.dim,), "passage_vector")}
        passages |= {i: given[i] for i in mark.rivals}
        return as_units(query_vector, (self.dim,), "query_vector"), passages

    def _keep(self, book):
        """Learn the book, then make it the state: in this order, so that a failure leaves the old state whole."""
        self._fit, self._rows = self._learn(book)
        self._book = book

    def _learn(self, book):
        marks, rows = rows_of(book, self.dim)
        result = fit(rows, self._options)
        if not (np.isfinite(result.A).all() and np.isfinite(result.B).all()):
            raise NotFinite("Learning gave weights that are not finite; nothing was changed.", marks=len(marks))
        return result, [m.n for m in marks]

    def _judge(self, book, A, B):
        """The Fit that given weights are, without learning: how far they satisfy the book."""
        marks, rows = rows_of(book, self.dim)
        if not marks:
            return Fit(A, B, 0, 0.0, 0.0, np.zeros(0, np.float32)), []
        before, after = (forward(rows, rows.queries @ rows.pool.T, A, b, self._options) for b in (np.zeros_like(B), B))
        return Fit(A, B, 0, before.loss, after.loss, after.lead), [m.n for m in marks]

    def _message(self, mark, unmet):
        if mark.n not in self._rows:
            return "The mark is kept, but there is no other passage to rank this one against yet."
        if unmet:
            others = ", ".join(map(str, unmet))
            return f"Marks that could not be satisfied: {others}. Like queries ask opposite things; undo one of them."
        return ""


def rank_of_first(query, passages):
    """Return the rank of row 0 among the rows by cosine; equal scores share a rank."""
    scores = passages @ query
    return 1 + int((scores > scores[0] + 1e-6).sum())
