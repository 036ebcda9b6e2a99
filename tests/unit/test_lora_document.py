"""The JSON document of an adapter: there and back the same, the arrays that others write read, what cannot be refused. Runs anywhere."""

import base64
import json
import random
from dataclasses import replace

import numpy as np
import pytest

from edgenet.errors import EdgeNetError, HashMismatch, InvalidAdapter, InvalidOption, NotFinite
from edgenet.lora import document
from tests.unit.small_adapters import NAMES, adapter

Q = "model.layers.0.self_attn.q_proj"
A, B = [1, 2, 3, 4, 5, 6], [1, 0, 0, 1]  # rank 2, 3 inputs, 2 outputs
MUTATIONS = 1500


def text(values):
    return base64.b64encode(np.float32(values).tobytes()).decode()


def written(a=A, b=B, **more):
    data = {"name": "x", "rank": 2, "alpha": 4, "weights": {Q: {"lora_A": a, "lora_B": b}}} | more
    return json.dumps({k: v for k, v in data.items() if v is not None}).encode()


@pytest.mark.parametrize("name", NAMES)
def test_a_document_written_and_read_again_is_the_same_adapter(name):
    training = {"steps": 10, "finalLoss": 1.25, "samples": 3, "duration": 1000}
    told = {
        "description": "d",
        "createdAt": "2026-01-01T00:00:00Z",
        "baseModel": "b",
        "merge": {"strategy": "ties"},
        "training": training,
        "quality": {"perplexityDelta": -1},
    }
    made = replace(adapter(name), name="Grüße", base_id="ab" * 32, base_sha256="cd" * 32, family="f", metadata=told)
    data = document.write(made)
    again = document.read(data)
    assert (again.id, again.checksum, again.metadata, again.name) == (made.id, made.checksum, told, made.name)
    assert (again.base_id, again.base_sha256, again.family) == (made.base_id, made.base_sha256, "f")
    assert document.write(again) == document.write(document.read(document.write(again)))
    assert {path: again.scale(path) for path in again.tensors} == pytest.approx(
        {path: made.scale(path) for path in made.tensors}
    )


def test_the_documents_fields_are_those_of_the_format():
    data = json.loads(document.write(replace(adapter("llama"), metadata={"training": {"steps": 1}})))
    assert (data["rank"], data["alpha"], data["training"]) == (2, 4, {"steps": 1})
    assert data["targetModules"] == ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]
    assert set(data["weights"][Q]) == {"lora_A", "lora_B"} and len(data["checksum"]) == 64 and len(data["id"]) == 36


FORMS = [
    (text(A), text(B), "base64"),
    (A, B, "numbers"),
    (
        {str(i): v for i, v in enumerate(A)},
        {str(i): v for i, v in enumerate(B)},
        "what JavaScript makes of a Float32Array",
    ),
]


@pytest.mark.parametrize(("a", "b", "why"), FORMS, ids=[row[2] for row in FORMS])
def test_arrays_are_read_in_every_form(a, b, why):
    found = document.read(written(a, b))
    assert found.delta(Q).tolist() == [[2, 4, 6], [8, 10, 12]] and (found.config.r, found.config.lora_alpha) == (2, 4)


def test_what_is_exported_tells_what_its_format_has_of_an_adapter_that_is_kept():
    trained = {"steps": 10, "finalLoss": 1.25, "samples": 3}
    made = replace(document.read(written()), metadata={"training": trained})
    data = json.loads(document.exported(made, "2026-01-01T00:00:00Z", {"steps": 20, "secondsPerStep": 0.25}))
    assert data["createdAt"] == "2026-01-01T00:00:00Z" and data["version"] == "1.0.0"
    assert data["training"] == trained | {"duration": 5000}, "all twenty steps were taken; the tenth was the best"
    own = replace(made, metadata={"version": "2.1.0", "createdAt": "2020-01-01T00:00:00Z", "training": "by hand"})
    again = json.loads(document.exported(own, "2026-01-01T00:00:00Z", {}))
    assert (again["version"], again["createdAt"], again["training"]) == ("2.1.0", "2020-01-01T00:00:00Z", "by hand")


METRICS = [
    ({"secondsPerStep": 0.25}, "no steps"),
    ({"secondsPerStep": "fast", "steps": 20}, "a text"),
    ({"secondsPerStep": None, "steps": 20}, "nothing"),
    ({"secondsPerStep": 1e308, "steps": 1e308}, "beyond all time"),
]


@pytest.mark.parametrize(("metrics", "why"), METRICS, ids=[row[1] for row in METRICS])
def test_metrics_that_somebody_else_told_tell_no_duration(metrics, why):
    made = replace(document.read(written()), metadata={"training": {"steps": 10}})
    assert json.loads(document.exported(made, "2026-01-01T00:00:00Z", metrics))["training"] == {"steps": 10}


REFUSED = [
    (b"{", InvalidAdapter, "cut"),
    (b"[]", InvalidAdapter, "a list"),
    (b"[" * 200_000, InvalidAdapter, "nested without end"),
    (b"\xff", InvalidAdapter, "not text"),
    (written(rank=0), InvalidAdapter, "rank 0"),
    (written(rank=257), InvalidAdapter, "a rank beyond the kernels'"),
    (written(rank=True), InvalidAdapter, "a rank that is a truth"),
    (written(alpha="4"), InvalidAdapter, "an alpha that is a text"),
    (written(alpha=-4), InvalidOption, "an alpha below zero"),
    (written(alpha=None), InvalidAdapter, "no alpha"),
    (written(alpha=10**400), InvalidAdapter, "an alpha beyond every float"),
    (written().replace(b'"alpha": 4', b'"alpha": NaN'), InvalidAdapter, "an alpha that is no number"),
    (written(weights={}), InvalidAdapter, "no weights"),
    (written(weights={Q: {"lora_A": A}}), InvalidAdapter, "one factor"),
    (written(weights={Q: 1}), InvalidAdapter, "factors that are none"),
    (written(weights={"../x": {"lora_A": A, "lora_B": B}}), EdgeNetError, "a path that is none"),
    (written(a=[1, 2, 3]), InvalidAdapter, "numbers that are no rows of the rank"),
    (written(a=[]), InvalidAdapter, "no numbers"),
    (written(a=["x"]), InvalidAdapter, "texts for numbers"),
    (written(a={"1": 1}), InvalidAdapter, "an index that lacks"),
    (written(a="!!!!"), InvalidAdapter, "no base64"),
    (written(a="AAAA"), InvalidAdapter, "three bytes"),
    (written(a=[1e300] * 6), NotFinite, "beyond f32"),
    (written(a=text([float("nan")] * 6)), NotFinite, "NaN"),
    (
        written(weights={key: {"lora_A": A, "lora_B": B} for key in (Q, f"base_model.model.{Q}")}),
        InvalidAdapter,
        "one module twice",
    ),
    (written(ranks={Q: 5}), InvalidAdapter, "a rank that the numbers do not have"),
    (written(scales={Q: "2"}), InvalidAdapter, "a scale that is a text"),
    (written(baseId="x"), InvalidAdapter, "a base that is no hash"),
    (written(signature="x", signedBy={"algorithm": "rsa"}), InvalidAdapter, "a signature that is none"),
    (written(checksum="0" * 64), HashMismatch, "other weights than the checksum's"),
]


@pytest.mark.parametrize(("data", "error", "why"), REFUSED, ids=[row[2] for row in REFUSED])
def test_a_document_that_cannot_be_is_refused(data, error, why):
    with pytest.raises(error):
        document.read(data)


def test_a_broken_document_is_read_or_refused_by_name_and_never_anything_else():
    draw, read, refused, whole = random.Random(7), 0, 0, document.write(document.read(written()))
    for _ in range(MUTATIONS):
        data = bytearray(whole)
        at = draw.randrange(len(data))
        data[at : at + draw.randrange(3)] = draw.choice(
            [b"", b"0", b"-", b'"', b"[", b"null", b"1e400", bytes([draw.randrange(256)])]
        )
        try:
            document.read(bytes(data))
            read += 1
        except EdgeNetError:
            refused += 1
    assert read + refused == MUTATIONS and read > MUTATIONS // 50 and refused > MUTATIONS // 2
