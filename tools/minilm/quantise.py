"""8-bit matrix products that keep their accuracy: fixed activation scales, smoothed channels, outliers kept in float.

A few channels of this model are 10 times larger than the rest, in the activations and in the weights that read them; one
8-bit scale over all of them is what makes plain dynamic INT8 poor. So, for each product, by the measured table
`calibration.json` (made by `calibrate.py`):

- the outlier channels (4 or 8) are multiplied in float32 and added, as in LLM.int8() (Dettmers et al. 2022);
- the others are divided by a per-channel power of 2^(1/4), and the weights multiplied by it: SmoothQuant (Xiao et al. 2023);
- the result is quantised to uint8 with a fixed scale, so a text's vector does not depend on what shares its batch.

Weights are uint8 around 128 rather than int8: on x86 without VNNI the unsigned product is exact where the signed one saturates.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .graph import Builder

TABLE = Path(__file__).with_name("calibration.json")
QUARTERS = np.array(
    [1.0, 1.1892071150027210, 1.4142135623730951, 1.6817928305074290], np.float32
)  # 2^(k/4), written out: exp2 may differ
ZERO, LETTER = 128, ord("P")  # exponent 0 is the letter P


@dataclass(frozen=True)
class Calibration:
    """What one product needs: `outliers` channel numbers, `exponents` int [K] in quarter octaves, `low`..`high` after smoothing."""

    outliers: list[int]
    exponents: np.ndarray
    low: float
    high: float

    @property
    def smooth(self) -> np.ndarray:
        """float32 [K]; activations are divided by it. Elementwise exact arithmetic, so every machine builds equal bytes."""
        return np.ldexp(QUARTERS[self.exponents % 4], self.exponents // 4).astype(np.float32)

    def to_json(self) -> dict:
        letters = "".join(chr(LETTER + e) for e in self.exponents.tolist())
        return {"outliers": self.outliers, "low": self.low, "high": self.high, "exponents": letters}

    @staticmethod
    def from_json(entry: dict) -> "Calibration":
        exponents = np.array([ord(c) - LETTER for c in entry["exponents"]], np.int32)
        return Calibration(entry["outliers"], exponents, entry["low"], entry["high"])


def load_table(path: Path = TABLE) -> dict[str, Calibration]:
    return {name: Calibration.from_json(entry) for name, entry in json.loads(path.read_text("utf-8")).items()}


def quantise_columns(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """weight [K, N] float32 -> (uint8 [K, N] around 128, float32 [N] scales), symmetric, nearest."""
    scale = (np.abs(weight).max(axis=0) / np.float32(127)).astype(np.float32)
    return (np.rint(weight / scale) + ZERO).astype(np.uint8), scale


def product_int8(table: dict[str, Calibration]):
    """The `Product` for `graph.quantised_model`."""

    def product(g: Builder, x: str, name: str, weight: np.ndarray) -> str:
        c = table[name]
        outliers = np.array(c.outliers, np.int64)
        inside = np.ones((len(weight), 1), np.float32)
        inside[outliers] = 0
        result = _quantised(g, x, name, weight * c.smooth[:, None] * inside, c)
        if not c.outliers:
            return result
        kept = g.op("Gather", [x, g.constant(f"{name}.outliers", outliers)], axis=-1)
        return g.op("Add", [result, g.op("MatMul", [kept, g.constant(f"{name}.float", weight[outliers])])])

    return product


def _quantised(g: Builder, x: str, name: str, weight: np.ndarray, c: Calibration) -> str:
    """uint8(x / smooth) times uint8 weights. Outlier rows of `weight` are zero, so clipping those activations costs nothing."""
    if c.exponents.any():
        x = g.op("Mul", [x, g.constant(f"{name}.smooth", 1 / c.smooth)])
    step = np.float32((c.high - c.low) / 255)
    zero = np.uint8(np.clip(np.rint(-c.low / step), 0, 255))
    codes, scale = quantise_columns(weight)
    a_scale, a_zero = g.constant(f"{name}.step", np.array(step)), g.constant(f"{name}.zero", np.array(zero))
    return g.op(
        "MatMulIntegerToFloat",
        [
            g.op("QuantizeLinear", [x, a_scale, a_zero]),
            g.constant(f"{name}.codes", codes),
            a_scale,
            g.constant(f"{name}.scale", scale),
            a_zero,
            g.constant(f"{name}.centre", np.full(len(scale), ZERO, np.uint8)),
        ],
        contrib=True,
    )
