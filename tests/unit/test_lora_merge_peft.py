"""A merge is PEFT's `add_weighted_adapter`, given the same masks: by committed vectors; with --long also live on larger ones."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest

from edgenet.lora.low_rank import Factors
from edgenet.lora.strategies import MergeOptions, merge_modules

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "merging.json").read_text("utf-8"))
# PEFT's name → ours, and what its weights must sum to: it takes them as they are, we divide them by their sum (or, in a mean, their mean).
NAMES = {
    "linear": ("task_arithmetic", None),
    "svd": ("task_arithmetic", None),
    "ties_svd": ("ties", 3),
    "dare_linear_svd": ("dare_linear", 1),
    "dare_ties_svd": ("dare_ties", 3),
}


def array(text, shape, kind="<f4"):
    return np.frombuffer(base64.b64decode(text), kind).reshape(shape)


def sources(document):
    """The adapters as factors by module."""
    shapes = document["shapes"]
    return [
        {
            m: Factors(array(a, (-1, shapes[m][1])), array(b, (shapes[m][0], -1)), scale)
            for m, (a, b, scale) in adapter.items()
        }
        for adapter in document["adapters"]
    ]


def options(row):
    strategy, total = NAMES[row["type"]]
    assert total is None or sum(row["weights"]) == pytest.approx(total)
    given = {"strategy": strategy, "weights": tuple(row["weights"]), "rank": row["rank"]}
    given |= {"density": row["density"]} if total else {}
    return MergeOptions(**given, **({"majority_sign_method": row["sign"]} if "ties" in strategy else {}))


def worst(document, row):
    """The largest relative difference of a module's delta."""
    shapes, masks = document["shapes"], row["masks"]

    def mask(module, number, rows):
        whole = array(masks[module][str(number)], shapes[module], "u1") if str(number) in masks[module] else None
        return np.zeros(1, bool) if whole is None else whole[rows] != 0

    adapters = sources(document)[: len(row["weights"])]
    merged = dict(merge_modules(adapters, options(row), mask if masks else None))
    assert set(merged) == set(row["deltas"])
    wanted = {module: array(text, shapes[module]) for module, text in row["deltas"].items()}
    return max(
        np.linalg.norm(merged[m].factors.B @ merged[m].factors.A - wanted[m]) / np.linalg.norm(wanted[m])
        for m in wanted
    )


@pytest.mark.parametrize("row", VECTORS["rows"], ids=lambda row: f"{row['type']}-{row['rank']}-{row['sign']}")
def test_a_merge_is_pefts(row):
    whole = row["rank"] == 18  # else PEFT's best factors of a dense matrix are compared with our nearly best
    assert worst(VECTORS, row) < (3e-6 if whole or row["type"] in ("linear", "svd") else 1e-3)


def test_every_kind_of_pefts_that_we_have_is_in_the_vectors():
    assert {row["type"] for row in VECTORS["rows"]} == set(NAMES)


@pytest.mark.long
def test_a_merge_is_pefts_on_larger_matrices_made_now():
    pytest.importorskip("peft")
    from tools.oracles.merging import vectors

    # of full rank: of a lower one, two nearly best choices among directions of like size need not be the same
    document = json.loads(json.dumps(vectors({"q_proj": (320, 256), "v_proj": (256, 400)}, 11, rank=256)))
    for row in document["rows"]:
        assert worst(document, row) < 1e-5, row["type"]
