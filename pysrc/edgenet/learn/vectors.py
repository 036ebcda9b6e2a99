"""What every learner checks before it computes: vectors of the right length and finite, numbers in range. Runs anywhere."""

from __future__ import annotations

import math

import numpy as np

from ..errors import InvalidOption, NotFinite, WrongLength, WrongType


def vector(value, dim: int, name: str) -> np.ndarray:
    """A float32 copy of shape (dim,). Raises WrongType, WrongLength or NotFinite."""
    try:
        array = np.array(value, np.float32)
    except (TypeError, ValueError) as error:
        raise WrongType(f"{name} must be {dim} numbers, found {type(value).__name__}", name=name) from error
    if array.shape != (dim,):
        raise WrongLength(
            f"{name} must have {dim} numbers, found the shape {list(array.shape)}", name=name, expected=dim
        )
    if not np.isfinite(array).all():
        raise NotFinite(f"{name} holds NaN or an infinity; nothing was changed", name=name)
    return array


def number(value, name: str, low: float = -math.inf, high: float = math.inf) -> float:
    """A finite float in [low, high]. Raises WrongType, NotFinite or InvalidOption."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise WrongType(f"{name} must be a number, found {type(value).__name__}", name=name)
    if not math.isfinite(value):
        raise NotFinite(f"{name} must be finite, found {value}", name=name)
    if not low <= value <= high:
        raise InvalidOption(f"{name} must be from {low} to {high}, found {value}", name=name)
    return float(value)


def integer(value, name: str, low: int, high: int) -> int:
    """An int in [low, high]. Raises WrongType or InvalidOption."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise WrongType(f"{name} must be an integer, found {value!r}", name=name)
    if not low <= value <= high:
        raise InvalidOption(f"{name} must be from {low} to {high}, found {value}", name=name)
    return int(value)
