"""MicroLoRA: y = x + alpha * (x A) B, adapted by single gradient steps (Hu et al. 2021, "LoRA"). Runs anywhere;
twin of web/engine/learning.

Names follow the learning-wasm API. Arrays are float32: x, y and gradients have shape (dim,), A is kept transposed
as (rank, dim), B (rank, dim).
"""

from __future__ import annotations

import base64
import binascii
import math
from typing import Any

import numpy as np

from ..errors import BackupInvalid, InvalidOption, NotFinite, OutputNotFinite
from ..kernels.codes import INTERNAL_ERROR, INVALID_INPUT, INVALID_OUTPUT, OK, raise_for_code
from ..kernels.ops import MAX_RANK, NumpyEngine
from .vectors import integer, number, vector

FORMAT = "edgenet-microlora"
MAX_DIM = 1 << 16
REWARD_MIN, REWARD_MAX = -1.0, 2.0


def initial_a(dim: int, rank: int, seed: int) -> np.ndarray:
    """A's start, (rank, dim): uniform with variance 1/dim from xorshift32 (Marsaglia 2003), the same numbers in JavaScript."""
    state, bound = (seed * 2654435761 + 0x9E3779B9) & 0xFFFFFFFF or 1, math.sqrt(3 / dim)
    out = np.empty(rank * dim, np.float32)
    for i in range(out.size):
        state ^= (state << 13) & 0xFFFFFFFF
        state ^= state >> 17
        state ^= (state << 5) & 0xFFFFFFFF
        out[i] = (state / 2**31 - 1) * bound
    return out.reshape(rank, dim)


class MicroLoRA:
    """One adapter. `engine` is anything with `call` (NumpyEngine, a wasmtime engine, a KernelManager); NumPy if none is given.

    `clip` bounds the norm of one step's gradient; 0 leaves it. Raises InvalidOption for a size or number out of range.
    """

    def __init__(
        self,
        dim: int = 256,
        alpha: float = 0.1,
        learning_rate: float = 0.01,
        *,
        rank: int = 2,
        seed: int = 1,
        clip: float = 0.0,
        engine=None,
    ):
        self._dim, self.rank = integer(dim, "dim", 1, MAX_DIM), integer(rank, "rank", 1, MAX_RANK)
        self.alpha, self.learning_rate = (
            number(alpha, "alpha", -1e6, 1e6),
            number(learning_rate, "learning_rate", 0, 1e6),
        )
        self.seed, self.clip = integer(seed, "seed", 0, 2**32 - 1), number(clip, "clip", 0, 1e30)
        self.engine = engine or NumpyEngine()
        self.reset()

    def reset(self) -> None:
        """Back to the start: A as the seed gives it, B zero, counters zero. A fresh adapter answers its input."""
        self.a = initial_a(self._dim, self.rank, self.seed)
        self.b = np.zeros((self.rank, self._dim), np.float32)
        self._input: np.ndarray | None = None
        self._adapts = self._forwards = 0

    def forward_array(self, input) -> np.ndarray:
        """y, float32 (dim,). Raises WrongLength, NotFinite, or OutputNotFinite when y leaves the range of f32."""
        self._input = vector(input, self._dim, "input")
        self._forwards += 1
        return self._forward(self._input, residual=1)

    def adapt_array(self, gradient, input=None) -> None:
        """One descent step for gradient = dL/dy at `input`, or at the last input of `forward_array`.

        Raises WrongLength, NotFinite, InvalidOption when there was no input yet, OutputNotFinite when the step is
        too large; then nothing changed.
        """
        e = vector(gradient, self._dim, "gradient")
        self._step(self._at(input), e)

    def adapt_with_reward(self, improvement: float, direction=None, input=None) -> None:
        """Reinforce (improvement > 0) or weaken (< 0) an output change by a step with dL/dy = -clip(improvement, -1, 2) * u / ||u||.

        A reward has no direction of its own: u is `direction` (dim,), else what the adapter adds to the input, else, when that is zero, the
        input itself. An improvement of 0 changes nothing and is not counted. Raises as `adapt_array`; InvalidOption when u is zero.
        """
        rho = min(max(number(improvement, "improvement"), REWARD_MIN), REWARD_MAX)
        x = self._at(input)
        u = vector(direction, self._dim, "direction") if direction is not None else self._forward(x, residual=0)
        u = u if u.any() or direction is not None else x
        if not u.any():
            raise InvalidOption(
                "A reward needs a direction: the input is zero, so give `direction` with a value other than zero"
            )
        if rho:
            unit = u.astype(np.float64) / np.linalg.norm(u.astype(np.float64))
            self._step(x, (-rho * unit).astype(np.float32))

    def delta_norm(self) -> float:
        """Frobenius norm of the change of weights, alpha * A B."""
        a, b = self.a.astype(np.float64), self.b.astype(np.float64)
        return abs(self.alpha) * math.sqrt(max(0.0, float(((a @ a.T) * (b @ b.T)).sum())))

    def adapt_count(self) -> int:
        """Steps taken since the start or reset."""
        return self._adapts

    def forward_count(self) -> int:
        """Calls of `forward_array` since the start or reset."""
        return self._forwards

    def param_count(self) -> int:
        """Trained numbers: 2 * rank * dim."""
        return 2 * self.rank * self._dim

    def dim(self) -> int:
        """Length of inputs and outputs."""
        return self._dim

    def export_state(self) -> dict[str, Any]:
        """Everything as JSON data; JavaScript's `import_state` reads it too."""
        texts = {
            name: base64.b64encode(np.ascontiguousarray(m, "<f4").tobytes()).decode()
            for name, m in (("a", self.a), ("b", self.b))
        }
        return {
            "format": FORMAT,
            "version": 1,
            "dim": self._dim,
            "rank": self.rank,
            "alpha": self.alpha,
            "learning_rate": self.learning_rate,
            "seed": self.seed,
            "clip": self.clip,
            "adapt_count": self._adapts,
            "forward_count": self._forwards,
            **texts,
        }

    def import_state(self, state: dict[str, Any]) -> None:
        """Take over an exported state of the same dim and rank, with its alpha, learning rate, clip and seed.

        Raises BackupInvalid; then nothing changed.
        """
        a, b = (self._matrix(state, name) for name in ("a", "b"))
        fields = {name: _field(state, name, low, high) for name, low, high in _NUMBERS}
        counts = [_count(state, name) for name in ("seed", "adapt_count", "forward_count")]
        self.a, self.b, self._input = a, b, None
        self.alpha, self.learning_rate, self.clip = fields["alpha"], fields["learning_rate"], fields["clip"]
        self.seed, self._adapts, self._forwards = counts

    def free(self) -> None:
        """Give the arrays back; the adapter is not used afterwards."""
        self.a = self.b = np.zeros((self.rank, 0), np.float32)

    def _at(self, input) -> np.ndarray:
        if input is not None:
            return vector(input, self._dim, "input")
        if self._input is None:
            raise InvalidOption("There is no input to adapt at: call forward_array first, or pass `input`")
        return self._input

    def _factors(self) -> dict[str, Any]:
        return {"a": self.a, "b": self.b, "d": self._dim, "r": self.rank, "scale": np.float32(self.alpha)}

    def _forward(self, x: np.ndarray, residual: int) -> np.ndarray:
        code, out = self.engine.call("microlora_forward", x=x, residual=residual, **self._factors())
        check(code, "microlora_forward")
        return out["y"]

    def _step(self, x: np.ndarray, e: np.ndarray) -> None:
        options = {"lr": np.float32(self.learning_rate), "clip": np.float32(self.clip)}
        code, out = self.engine.call("microlora_adapt", x=x, e=e, **self._factors(), **options)
        check(code, "microlora_adapt")
        self.a, self.b = np.array(out["a"]), np.array(out["b"])
        self._adapts += 1

    def _matrix(self, state: Any, name: str) -> np.ndarray:
        if not isinstance(state, dict) or (state.get("format"), state.get("version")) != (FORMAT, 1):
            raise BackupInvalid(
                f'This is no exported adapter: expected format "{FORMAT}" version 1. Nothing was changed.'
            )
        if (state.get("dim"), state.get("rank")) != (self._dim, self.rank):
            found = f"dim {state.get('dim')} rank {state.get('rank')}"
            raise BackupInvalid(
                f"The state is for {found}, this adapter has dim {self._dim} rank {self.rank}. Nothing was changed."
            )
        try:
            matrix = np.frombuffer(base64.b64decode(state.get(name, ""), validate=True), "<f4").reshape(
                self.rank, self._dim
            )
        except (TypeError, ValueError, binascii.Error) as error:
            raise BackupInvalid(
                f'The state\'s "{name}" is not {self.rank} x {self._dim} f32 in base64. Nothing was changed.'
            ) from error
        if not np.isfinite(matrix).all():
            raise BackupInvalid(f'The state\'s "{name}" holds NaN or an infinity. Nothing was changed.')
        return matrix.astype(np.float32)


_NUMBERS = (("alpha", -1e6, 1e6), ("learning_rate", 0, 1e6), ("clip", 0, 1e30))


def _field(state: dict[str, Any], name: str, low: float, high: float) -> float:
    value = state.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise BackupInvalid(
            f'The state\'s "{name}" must be a number from {low} to {high}, found {value!r}. Nothing was changed.'
        )
    return float(value)


def _count(state: dict[str, Any], name: str) -> int:
    value = state.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**53:
        raise BackupInvalid(f'The state\'s "{name}" must be an integer from 0, found {value!r}. Nothing was changed.')
    return value


def check(code: int, name: str) -> None:
    """The learner's words for a kernel's return code."""
    if code == INVALID_INPUT:
        raise NotFinite("The input or gradient holds NaN or an infinity; nothing was changed")
    if code == INVALID_OUTPUT:
        raise OutputNotFinite(
            "The output leaves the range of f32: the adapter's weights have grown too large. Reset it, or lower alpha"
        )
    if code == INTERNAL_ERROR:
        raise OutputNotFinite(
            "The step is too large to keep the weights finite and was not taken. Lower the learning rate, or set clip"
        )
    if code != OK:
        raise_for_code(code, name)


__all__ = ["MicroLoRA", "check", "initial_a"]
