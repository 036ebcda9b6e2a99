"""Writes tests/vectors/gguf/blocks.json with the `gguf` package: `python -m tools.oracles.gguf_blocks`. CPython.

One row of 256 weights per type: `raw` are its bytes, `weights` the f32 that the package makes of them, `from` (where the package can
quantise) the f32 that it made the bytes of. All little-endian, base64. Scales are finite: NaN has many bit patterns.
"""

import base64
import json
from importlib.metadata import version
from pathlib import Path

import gguf
import numpy as np

TARGET = Path(__file__).parents[2] / "tests" / "vectors" / "gguf" / "blocks.json"
WRITTEN = ("f32", "f16", "bf16", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0")
# Types that the package only reads: where their f16 scales lie in a block, so that random bytes get sound ones.
SCALES = {"q2_k": (80, 82), "q3_k": (108,), "q4_k": (0, 2), "q5_k": (0, 2), "q6_k": (208,), "iq4_nl": (0,)}


def text(values: np.ndarray) -> str:
    """Base64 of an array's little-endian bytes."""
    return base64.b64encode(values.tobytes()).decode()


def weights(rng) -> np.ndarray:
    """256 weights with what is hard: a block of zeros, one of equals, ties of rounding, a lone giant, tiny ones."""
    x = rng.standard_normal(256).astype(np.float32)
    x[32:64], x[64:96], x[128:160] = 0, -1.5, np.arange(-16, 16) / 2
    x[160], x[192:224] = 4000, x[192:224] * np.float32(1e-6)
    return x[None]


def rows(rng):
    """A vector per type."""
    for name in WRITTEN:
        kind, x = gguf.GGMLQuantizationType[name.upper()], weights(rng)
        raw = gguf.quants.quantize(x, kind).view(np.uint8)
        yield {"type": name, "raw": text(raw), "weights": text(gguf.quants.dequantize(raw, kind)), "from": text(x)}
    for name, scales in SCALES.items():
        kind = gguf.GGMLQuantizationType[name.upper()]
        elements, size = gguf.GGML_QUANT_SIZES[kind]
        raw = rng.integers(0, 256, (256 // elements, size), dtype=np.uint8)
        for at in scales:
            raw[:, at : at + 2] = rng.normal(0, 0.01, (len(raw), 1)).astype("<f2").view(np.uint8)
        raw = raw.reshape(1, -1)
        yield {"type": name, "raw": text(raw), "weights": text(gguf.quants.dequantize(raw, kind))}


def main():
    """Write the file."""
    note = f"Rows of 256 weights by gguf {version('gguf')} and NumPy {np.__version__}; made by tools/oracles/gguf_blocks.py."
    body = ",\n".join(" " + json.dumps(row) for row in rows(np.random.default_rng(7)))
    TARGET.write_text(f'{{"note": {json.dumps(note)},\n"rows": [\n{body}\n]}}\n')


if __name__ == "__main__":
    main()
