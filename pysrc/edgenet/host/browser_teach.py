"""The Teacher behind messages: what the Python worker answers. Pyodide (it runs in CPython too; the tests do that). One Teacher per model.

Every answer is {"result": data} or {"error": wire data}; arrays in it are flat. What was learned is in the answer, for the page to keep.
"""

import json
import time

import numpy as np

from .. import __version__
from ..errors import BackupInvalid, EdgeNetError, NoModel, UnknownKind
from ..learn.teach import Teacher

VERSION = __version__
__all__ = ["VERSION", "answer"]


class Desk:
    """Holds the Teacher of one model."""

    def __init__(self, model):
        self.model: str = model
        self.teacher: Teacher | None = None

    def open(self, dim, data=None):
        """Start with what was kept (JSON text of an earlier `export`), or with nothing."""
        self.teacher = restored(data, self.model) if data else Teacher(dim, model=self.model, clock=time.perf_counter)
        return self.state()

    def mark(self, query, query_vector, passage, passage_vector, relevant, rivals, rival_ids):
        """`rivals`: flat float32 of len(rival_ids) x dim."""
        rows = np.reshape(rivals, (len(rival_ids), -1)) if len(rival_ids) else []
        report = self.open_one().mark(query, query_vector, passage, passage_vector, relevant, rows, rival_ids)
        return {**self.state(), "report": report}

    def undo(self, n=None):
        self.open_one().undo(n)
        return self.state()

    def reset(self):
        self.open_one().reset()
        return self.state()

    def forget(self, passages):
        known = [p for p in passages if self.open_one().knows(p)]
        dropped = self.open_one().forget(known) if known else []
        return {**self.state(), "dropped": dropped}

    def import_(self, data):
        """All or nothing: a refused import leaves what is there."""
        self.teacher = restored(data, self.model)
        return self.state()

    def export(self):
        return json.dumps(self.open_one().export(), separators=(",", ":"))

    def state(self):
        """{marks, unmet, adapter: {A, B: flat float32, alpha, rank, norm} or None, data: JSON text to keep}."""
        teacher = self.open_one()
        weights = teacher.adapter()
        adapter = flat(weights) if weights["B"].any() else None
        return {"marks": teacher.marks(), "unmet": teacher.unmet(), "adapter": adapter, "data": self.export()}

    def open_one(self) -> Teacher:
        if self.teacher is None:
            raise NoModel("Teaching was not opened for a model. Call open first.")
        return self.teacher


def restored(data, model):
    try:
        document = json.loads(data)
    except (TypeError, ValueError) as error:
        raise BackupInvalid(f"What was taught cannot be read: it is no JSON ({error}). Nothing was changed.") from error
    return Teacher.restore(document, model=model, clock=time.perf_counter)


def flat(weights):
    """The adapter for a message; `norm` is the Frobenius norm of alpha A B."""
    a, b = weights["A"], weights["B"]
    norm = abs(weights["alpha"]) * float(np.sqrt(max(0.0, ((a.T @ a) * (b @ b.T)).sum(dtype=np.float64))))
    return {"A": a.ravel(), "B": b.ravel(), "alpha": weights["alpha"], "rank": int(a.shape[1]), "norm": norm}


KINDS = {
    "open": Desk.open,
    "mark": Desk.mark,
    "undo": Desk.undo,
    "reset": Desk.reset,
    "forget": Desk.forget,
    "import": Desk.import_,
    "export": Desk.export,
    "state": Desk.state,
}
DESKS: dict[str, Desk] = {}


def answer(kind, args):
    """One message's answer; errors are data. `args` names the `model`, the rest goes to the kind."""
    try:
        if kind not in KINDS:
            raise UnknownKind(f'Teaching has no kind "{kind}". It answers: {", ".join(KINDS)}.', kind=kind)
        model, rest = args["model"], {k: v for k, v in args.items() if k != "model"}
        return {"result": KINDS[kind](DESKS.setdefault(model, Desk(model)), **rest)}
    except EdgeNetError as error:
        return {"error": error.to_data()}
