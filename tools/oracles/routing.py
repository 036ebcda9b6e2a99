"""Writes `tests/vectors/routing.json`: profiles of adapters and where requests go, by the definitions in plain f64. CPython; needs nothing.

    python -m tools.oracles.routing

Nothing of `edgenet` computes here. A profile's mean is that of unit vectors, a score the cosine of it and the request, both rounded to f32.
"""

import json
import math
import random
import struct

from tools.paths import ROOT

TARGET = ROOT / "tests/vectors/routing.json"
THRESHOLD, EXAMPLES, LENGTH = 0.18, 8, 200
SEED, WIDTH = 11, 24
MODEL, OTHER = "minilm-l6-v2-q8@2.0.0", "minilm-l6-v2-q8@1.0.0"


def rounded(value):
    """The nearest f32."""
    return struct.unpack("<f", struct.pack("<f", value))[0]


def unit(vector):
    length = math.sqrt(math.fsum(v * v for v in vector))
    return [v / length for v in vector]


def cosine(a, b):
    return math.fsum(x * y for x, y in zip(unit(a), unit(b), strict=True))


def profile(vectors, texts, model):
    units = [unit(vector) for vector in vectors]
    mean = [rounded(math.fsum(column) / len(units)) for column in zip(*units, strict=True)]
    examples = [text[:LENGTH] for text in texts if text][:EXAMPLES]
    return {"mean": mean, "count": len(units), "examples": examples, "model": model}


def around(draw, centre, spread, count):
    return [[rounded(c + draw.gauss(0, spread)) for c in centre] for _ in range(count)]


def learn_rows(draw):
    """[(why, vectors, texts, model)]"""
    centre = [draw.gauss(0, 1) for _ in range(WIDTH)]
    opposite = [[1.0, 2.0, -2.0], [-1.0, -2.0, 2.0]]
    return [
        ("of unequal lengths, each counts once", [[3.0, 4.0], [0.0, 100.0]], ["a", "b"], ""),
        ("many", around(draw, centre, 0.5, 12), [f"text {i}" for i in range(12)], MODEL),
        (
            "long texts are cut at whole characters, empty ones left out",
            [[1.0, 0.0]],
            ["", "😀" * 300, "x" * 200],
            MODEL,
        ),
        ("texts that are each other's opposite have no direction", opposite, [], MODEL),
    ]


def profiles(draw):
    """{id: profile} to choose among."""
    centres = {name: [draw.gauss(0, 1) for _ in range(WIDTH)] for name in ("recipes", "code", "law")}
    made = {name: profile(around(draw, centre, 0.6, 6), [name], MODEL) for name, centre in centres.items()}
    made["as wide, of another model"] = {**made["code"], "model": OTHER}
    made["narrower"] = profile([[1.0, 0.5]], [], MODEL)
    made["of nobody"] = {name: value for name, value in made["law"].items() if name != "model"}
    made["without direction"] = {**made["law"], "mean": [0.0] * WIDTH}
    return made, centres


def found(vector, among, threshold, model):
    fitting = {
        id: cosine(p["mean"], vector)
        for id, p in among.items()
        if p.get("model", "") == model and len(p["mean"]) == len(vector) and any(p["mean"])
    }
    near = [abs(score - threshold) for score in fitting.values()]
    assert not near or min(near) > 1e-4, "a score at the threshold would be decided by rounding"
    return sorted(([id, score] for id, score in fitting.items() if score >= threshold), key=lambda row: -row[1])


def route_rows(draw, among, centres):
    """[(why, vector, threshold, model)]"""
    mixed = [rounded(a + 0.8 * b) for a, b in zip(centres["recipes"], centres["code"], strict=True)]
    against = [rounded(-sum(column)) for column in zip(*centres.values(), strict=True)]
    near = {name: around(draw, centre, 0.8, 1)[0] for name, centre in centres.items()}
    yield from ((f"like {name}", vector, THRESHOLD, MODEL) for name, vector in near.items())
    yield "like two, the likest first", mixed, THRESHOLD, MODEL
    yield "like two, and one alone is enough like it", mixed, 0.7, MODEL
    yield "longer, and no more like", [rounded(1000 * v) for v in mixed], THRESHOLD, MODEL
    yield "like none", against, THRESHOLD, MODEL
    yield "like none at all, and every one is asked for", against, -1, MODEL
    yield "of another model", mixed, THRESHOLD, OTHER
    yield "of a model that described nothing", mixed, THRESHOLD, "third@1.0.0"
    yield "of a model that nobody named", near["law"], THRESHOLD, ""
    yield "of another width", [1.0, 0.4], THRESHOLD, MODEL


def document():
    draw = random.Random(SEED)
    learning = [
        {"why": why, "vectors": vectors, "texts": texts, "model": model, "profile": profile(vectors, texts, model)}
        for why, vectors, texts, model in learn_rows(draw)
    ]
    among, centres = profiles(draw)
    rows = [
        {"why": why, "vector": v, "threshold": t, "model": m, "found": found(v, among, t, m)}
        for why, v, t, m in route_rows(draw, among, centres)
    ]
    return {
        "note": "Made by tools/oracles/routing.py.",
        "threshold": THRESHOLD,
        "learned": learning,
        "profiles": among,
        "routed": rows,
        "refused": [[], [0, 0, 0]],
    }


def main():
    """Write the file."""
    TARGET.write_text(json.dumps(document(), indent=1) + "\n")


if __name__ == "__main__":
    main()
