"""ScopedLoRA: one MicroLoRA for each of 17 query operators and for each of their 7 categories. Runs anywhere.

A scope that has learned little leans on its category: with n < 10 adaptations, y = x + w * own delta + (1 - w) * category's, w = n / 10.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import BackupInvalid, UnknownScope
from .microlora import MicroLoRA, check
from .vectors import vector

FORMAT = "edgenet-scopedlora"
WARM = 10  # adaptations after which a scope stands alone
SCOPES: tuple[tuple[str, str], ...] = (
    ("SeqScan", "Scan"),
    ("IndexScan", "Scan"),
    ("HnswScan", "Scan"),
    ("IvfFlatScan", "Scan"),
    ("NestedLoopJoin", "Join"),
    ("HashJoin", "Join"),
    ("MergeJoin", "Join"),
    ("Aggregate", "Aggregation"),
    ("GroupBy", "Aggregation"),
    ("Filter", "Transform"),
    ("Project", "Transform"),
    ("Sort", "Order"),
    ("Limit", "Order"),
    ("VectorDistance", "Vector"),
    ("Rerank", "Vector"),
    ("Materialize", "Utility"),
    ("Result", "Utility"),
)
CATEGORIES = tuple(dict.fromkeys(category for _, category in SCOPES))


def scope(op_type: Any) -> int:
    """The operator number 0..16. Raises UnknownScope."""
    if isinstance(op_type, bool) or not isinstance(op_type, (int, np.integer)) or not 0 <= op_type < len(SCOPES):
        raise UnknownScope(
            f"An operator is a number from 0 to {len(SCOPES) - 1}, found {op_type!r}", found=str(op_type)
        )
    return int(op_type)


class ScopedLoRA:
    """24 adapters with the same start. Adapting a scope also adapts its category. Options are those of MicroLoRA."""

    def __init__(self, dim: int = 256, alpha: float = 0.1, learning_rate: float = 0.01, **options: Any):
        self._scopes = [MicroLoRA(dim, alpha, learning_rate, **options) for _ in SCOPES]
        self._categories = {name: MicroLoRA(dim, alpha, learning_rate, **options) for name in CATEGORIES}
        self._inputs: dict[int, np.ndarray] = {}
        self._fallback = True

    @staticmethod
    def scope_name(op_type: int) -> str:
        """The operator's name, e.g. 2 → "HnswScan". Raises UnknownScope."""
        return SCOPES[scope(op_type)][0]

    @staticmethod
    def category_name(op_type: int) -> str:
        """The category's name, e.g. 2 → "Scan". Raises UnknownScope."""
        return SCOPES[scope(op_type)][1]

    def set_category_fallback(self, enabled: bool) -> None:
        """Whether a scope with fewer than 10 adaptations leans on its category (it does by default)."""
        self._fallback = bool(enabled)

    def forward_array(self, op_type: int, input) -> np.ndarray:
        """y, float32 (dim,), of this scope. Raises UnknownScope, WrongLength, NotFinite, OutputNotFinite."""
        own, group = self._pair(op_type)
        x = vector(input, own.dim(), "input")
        self._inputs[scope(op_type)] = x
        own._forwards += 1
        if not self._fallback or own.adapt_count() >= WARM:
            return own._forward(x, residual=1)
        weight = np.float32(own.adapt_count() / WARM)
        code, out = own.engine.call("microlora_blend", x=x, **own._factors(), ca=group.a, cb=group.b, weight=weight)
        check(code, "microlora_blend")
        return out["y"]

    def adapt_array(self, op_type: int, gradient, input=None) -> None:
        """One step of the scope and of its category for gradient = dL/dy. Raises as `MicroLoRA.adapt_array`, and UnknownScope."""
        x = self._inputs.get(scope(op_type)) if input is None else input
        self._both(op_type, lambda adapter: adapter.adapt_array(gradient, x))

    def adapt_with_reward(self, op_type: int, improvement: float, direction=None, input=None) -> None:
        """As `MicroLoRA.adapt_with_reward` for the scope and its category, each by what it adds itself unless `direction` is given."""
        x = self._inputs.get(scope(op_type)) if input is None else input
        self._both(op_type, lambda adapter: adapter.adapt_with_reward(improvement, direction, x))

    def adapt_count(self, op_type: int) -> int:
        """Steps of one scope. Raises UnknownScope."""
        return self._pair(op_type)[0].adapt_count()

    def forward_count(self, op_type: int) -> int:
        """Forwards of one scope. Raises UnknownScope."""
        return self._pair(op_type)[0].forward_count()

    def total_adapt_count(self) -> int:
        """Steps of all 17 scopes; the categories' own are not counted."""
        return sum(adapter.adapt_count() for adapter in self._scopes)

    def total_forward_count(self) -> int:
        """Forwards of all 17 scopes."""
        return sum(adapter.forward_count() for adapter in self._scopes)

    def delta_norm(self, op_type: int) -> float:
        """Norm of one scope's own change. Raises UnknownScope."""
        return self._pair(op_type)[0].delta_norm()

    def reset_scope(self, op_type: int) -> None:
        """One scope back to its start; its category stays. Raises UnknownScope."""
        self._pair(op_type)[0].reset()
        self._inputs.pop(scope(op_type), None)

    def reset_all(self) -> None:
        """All scopes and categories back to their start."""
        for adapter in [*self._scopes, *self._categories.values()]:
            adapter.reset()
        self._inputs = {}

    reset = reset_all

    def export_state(self) -> dict[str, Any]:
        """Everything as JSON data; JavaScript's `import_state` reads it too."""
        return {
            "format": FORMAT,
            "version": 1,
            "category_fallback": self._fallback,
            "scopes": [a.export_state() for a in self._scopes],
            "categories": {name: a.export_state() for name, a in self._categories.items()},
        }

    def import_state(self, state: dict[str, Any]) -> None:
        """Take over an exported state of the same dim and rank. Raises BackupInvalid; then nothing changed."""
        parts = self._parts(state)
        before = [adapter.export_state() for adapter, _ in parts]
        try:
            for adapter, content in parts:
                adapter.import_state(content)
        except BackupInvalid:
            for (adapter, _), content in zip(parts, before, strict=True):
                adapter.import_state(content)
            raise
        self._fallback, self._inputs = state["category_fallback"], {}

    def free(self) -> None:
        """Give the arrays of all adapters back."""
        for adapter in [*self._scopes, *self._categories.values()]:
            adapter.free()

    def _parts(self, state: Any) -> list[tuple[MicroLoRA, Any]]:
        good = (
            isinstance(state, dict)
            and (state.get("format"), state.get("version")) == (FORMAT, 1)
            and _is_complete(state)
        )
        if not good:
            raise BackupInvalid(
                f'This is no exported scoped adapter: expected format "{FORMAT}" version 1 with 17 scopes and 7 '
                f"categories. Nothing was changed."
            )
        return [
            *zip(self._scopes, state["scopes"], strict=True),
            *[(self._categories[n], state["categories"][n]) for n in CATEGORIES],
        ]

    def _pair(self, op_type: int) -> tuple[MicroLoRA, MicroLoRA]:
        n = scope(op_type)
        return self._scopes[n], self._categories[SCOPES[n][1]]

    def _both(self, op_type: int, step) -> None:
        # The category steps only after the scope did, so that an error in the scope's leaves both as they were.
        own, group = self._pair(op_type)
        a, b, count = own.a, own.b, own.adapt_count()
        step(own)
        try:
            step(group)
        except Exception:
            own.a, own.b, own._adapts = a, b, count
            raise


def _is_complete(state: dict[str, Any]) -> bool:
    scopes, categories = state.get("scopes"), state.get("categories")
    return (
        isinstance(scopes, list)
        and len(scopes) == len(SCOPES)
        and isinstance(categories, dict)
        and set(categories) == set(CATEGORIES)
        and isinstance(state.get("category_fallback"), bool)
    )
