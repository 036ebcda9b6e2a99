"""Adapters for the page, by messages: what the engine needs to take them, and files of every format made ready. CPython."""

import io
import random
import zipfile
from dataclasses import replace

import pytest

from edgenet.host.browser_adapters import answer
from edgenet.lora import document, gguf
from edgenet.lora.bound import engine_bytes
from edgenet.lora.safetensors import read
from edgenet.lora.signature import payload
from edgenet.models.adapted import document as adapted_document
from edgenet.models.compiled import default_capacity
from tests.unit import small_adapters

NAME = "qwen2"
HEADER, BASE = small_adapters.header(NAME), small_adapters.base(NAME)
CAPACITY = default_capacity(HEADER)
PEFT = small_adapters.files(NAME)
ADAPTER = small_adapters.adapter(NAME)


def talk(kind, **more):
    """(the last answer, what was asked for): what the page does."""
    ranges, asked = [], []
    while True:
        given = {"files": [["m.gguf", len(BASE)]], "ranges": ranges, "capacity": CAPACITY.to_data(), **more}
        found = answer(kind, given)
        if "wanted" not in found.get("result", {}):
            return found, asked
        name, offset, length = found["result"]["wanted"]
        asked.append((name, offset, length))
        ranges.append([name, offset, BASE[offset : offset + length]])


def zipped(files, folder=""):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(folder + name, content)
    return data.getvalue()


def test_what_the_engine_needs_follows_from_the_header_alone():
    found, asked = talk("adapted")
    assert found["result"]["document"] == adapted_document(HEADER, CAPACITY)
    assert len(asked) == 1


FORMATS = {
    "a folder of PEFT": PEFT,
    "a folder in a folder": {f"mine/{name}": data for name, data in PEFT.items()},
    "a zip": {"mine.zip": zipped(PEFT)},
    "a zip of a folder": {"mine.zip": zipped(PEFT, "mine/")},
    "a folder with a checkpoint's folder in it": {f"mine/{name}": data for name, data in PEFT.items()}
    | {f"mine/checkpoint-5/{name}": data for name, data in small_adapters.files("phi2").items()},
    "GGUF": {"mine.gguf": b"".join(gguf.write(ADAPTER, HEADER))},
    "JSON": {"mine.json": document.write(ADAPTER)},
}


@pytest.mark.parametrize("title", FORMATS)
def test_an_adapter_of_every_format_is_made_ready_alike(title):
    found, _ = talk("bind", adapter=FORMATS[title])
    (arrays, _), (wanted, _) = read(found["result"]["bytes"]), read(engine_bytes(ADAPTER, HEADER))
    assert list(arrays) == list(wanted)
    for name, array in wanted.items():
        assert abs(arrays[name] - array).max() < 1e-6


def test_of_a_signed_adapter_it_is_told_what_the_page_judges_the_signature_by():
    signature = {
        "algorithm": "ed25519",
        "keyId": "0" * 16,
        "timestamp": "2026-03-01T12:00:00Z",
        "value": "A" * 86 + "==",
    }
    made = replace(ADAPTER, signature=signature)
    found, _ = talk("bind", adapter={"mine.json": document.write(made)})
    assert found["result"]["signed"] == {"payload": payload(made, signature["timestamp"]), "signature": signature}
    assert "signed" not in talk("bind", adapter=PEFT)[0]["result"]


CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
BAD = {
    "no file": ({}, "adapter_invalid"),
    "the weights alone": ({WEIGHTS: PEFT[WEIGHTS]}, "adapter_invalid"),
    "the config alone": ({CONFIG: PEFT[CONFIG]}, "adapter_invalid"),
    "two adapters": ({f"{at}/{name}": data for at in "ab" for name, data in PEFT.items()}, "adapter_invalid"),
    "a text": ({"a.txt": b"hello"}, "adapter_invalid"),
    "a damaged zip": ({"a.zip": zipped(PEFT)[:-100]}, "adapter_invalid"),
    "a zip with a damaged file": ({"a.zip": zipped(PEFT)[:3000] + bytes(64) + zipped(PEFT)[3064:]}, "adapter_invalid"),
    "a zip of a zip under an adapter's name": ({"a.zip": zipped({CONFIG: zipped(PEFT)})}, "adapter_invalid"),
    "a zip of nothing": ({"a.zip": b"PK\x03\x04" + bytes(40)}, "adapter_invalid"),
    "a zip of a zip": ({"a.zip": zipped({"b.zip": zipped(PEFT)})}, "adapter_invalid"),
    "weights that were cut short": (PEFT | {WEIGHTS: PEFT[WEIGHTS][:-1]}, "adapter_invalid"),
    "a config that is none": (PEFT | {"adapter_config.json": b"[]"}, "adapter_invalid"),
    "an adapter of another model": (small_adapters.files("phi2"), "adapter_mismatch"),
    "a model, no adapter": ({"m.gguf": BASE}, "adapter_invalid"),
    "JSON that is none": ({"a.json": b"{"}, "adapter_invalid"),
}


@pytest.mark.parametrize("title", BAD)
def test_what_is_no_adapter_of_this_model_is_refused_by_name(title):
    files, code = BAD[title]
    assert talk("bind", adapter=files)[0]["error"]["code"] == code


def test_a_broken_zip_is_read_or_refused_by_name_and_never_anything_else():
    draw, whole, codes = random.Random(5), zipped(PEFT), set()
    for _ in range(400):
        data, at = bytearray(whole), draw.randrange(len(whole)) if draw.random() < 0.5 else -draw.randrange(1, 400)
        data[at] = draw.randrange(256)
        codes.add(talk("bind", adapter={"a.zip": bytes(data)})[0].get("error", {}).get("code"))
    assert {None, "adapter_invalid"} <= codes


def test_a_config_that_stands_alone_is_told_what_it_lacks():
    assert "lacks adapter_model.safetensors" in talk("bind", adapter={CONFIG: PEFT[CONFIG]})[0]["error"]["message"]


def test_a_zip_that_would_unpack_to_too_much_is_refused_before_it_is(monkeypatch):
    monkeypatch.setattr("edgenet.lora.reading.MAX_BYTES", 1000)
    assert talk("bind", adapter={"a.zip": zipped(PEFT)})[0]["error"]["code"] == "adapter_invalid"


def test_an_unknown_kind_is_told():
    assert answer("train", {})["error"]["code"] == "unknown_kind"
