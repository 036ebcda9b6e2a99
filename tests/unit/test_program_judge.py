"""Programs as hostile input: the shared vectors, and records written out by hand."""

import copy
import json
from functools import cache
from pathlib import Path

import pytest

from edgenet.errors import InvalidGraph, InvalidProgram
from edgenet.graph import Capacity, Graph, Program, compile
from edgenet.graph.capacity import LIMITS
from edgenet.graph.lowering import lower
from edgenet.kernels.lm import layouts, table
from tests.unit.graph_models import rules

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "tests" / "vectors" / "program"


@cache
def load(name):
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


GOOD = {row["name"]: row for row in load("good")}
HOSTILE = load("hostile")


def text_of(row):
    """The document of a row of hostile.json."""
    if "text" in row:
        return row["text"] * row.get("times", 1)
    value = [row["value"]] * row["times"] if "times" in row else row.get("value")
    if not row["path"]:
        return json.dumps(value)
    at = document = copy.deepcopy(GOOD[row["base"]]["program"])
    for key in row["path"][:-1]:
        at = at[key]
    if "value" in row:
        at[row["path"][-1]] = value
    else:
        del at[row["path"][-1]]
    return json.dumps(document)


def test_the_vectors_are_of_the_present_table_of_kernels():
    assert load("table") == json.loads(json.dumps(table.describe()))


def test_the_vectors_are_of_the_present_rules():
    assert load("rules") == rules()


@pytest.mark.parametrize("row", GOOD.values(), ids=GOOD)
def test_a_good_program_is_lowered_to_these_records(row):
    program = Program.from_json(json.dumps(row["program"]))
    words = lower(program, row["addresses"], row["layouts"])
    assert [int.from_bytes(words[i : i + 4], "little") for i in range(0, len(words), 4)] == row["words"]
    assert program.caches() == row["caches"]


@pytest.mark.parametrize("row", HOSTILE, ids=[r["reason"] for r in HOSTILE])
def test_a_hostile_program_is_refused_by_name(row):
    with pytest.raises(InvalidProgram) as caught:
        Program.from_json(text_of(row))
    assert caught.value.code == row["code"]


def test_records_are_these_words():
    """embed, softcap and a matmul by q8_0 of the wanted rows, word by word as docs/engine.md tells them."""
    g = Graph()
    x = g.embed(g.weight("e", (5, 32), "f16"), g.input("tokens", "i32", ("n",)), scale=2.0)
    x = g.softcap(g.rows(x, g.input("wanted", "i32", ("m",))), 30.0)
    g.output("y", g.matmul(x, g.weight("w", (7, 32), "q8_0"), g.weight("b", (7,), "f32")))
    program = compile(g, Capacity(rows=4, wanted=2, sample=False))
    at = {b.name: 4096 + b.offset for b in program.buffers}
    words = (
        memoryview(lower(program, {"arena": 4096, "kv": 0, "constants": 0, "weights": [10, 20, 30]}, [1, 7, 0]))
        .cast("I")
        .tolist()
    )
    embedded, picked = words[3 + 3], words[11 + 3 + 2]
    capped, rows = words[20 + 3 + 1], words[28 + 3 + 1]
    stride = words[28 + 3 + 4]
    codes = table.CODES
    assert words == [
        *(codes["embed"] | 8 << 16, 1, 1 << 4, 10, 1, at["tokens"], embedded, 0, 5, 32, 0x40000000),
        *(codes["rows"] | 6 << 16, 1, 1 << 3 | 1 << 4, embedded, at["wanted"], picked, 0, 1, 32),
        *(codes["softcap"] | 5 << 16, 1, 1 << 2, picked, capped, 1, 32, 0x41F00000),
        *(codes["quantize"] | 5 << 16, 0, 1 << 2, capped, rows, 1, 32, stride),
        *(codes["matmul"] | 11 << 16, 0, 1 << 6, rows, 20, 7, 30, 0, at["y"], 1, 7, 32, 0, stride),
        0xFFFFFFFF,
    ]
    assert stride % 64 == 0 and capped == picked != embedded


def test_limits_of_capacity_are_judged_at_both_ends():
    for name, (least, most) in LIMITS.items():
        for value in (least - 1, most + 1):
            document = copy.deepcopy(GOOD["llama"]["program"])
            document["capacity"][name] = value
            if (name, value) != ("pages", 0):
                with pytest.raises(InvalidGraph):
                    Capacity(**document["capacity"])
            with pytest.raises(InvalidProgram):
                Program.from_json(document)


def test_the_schema_describes_good_programs_and_nothing_else():
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((ROOT / "manifests/schema/program-v1.json").read_text(encoding="utf-8"))
    assert schema["$defs"]["weight"]["properties"]["type"]["enum"] == [
        "f32",
        "f16",
        "bf16",
        *(t for t in layouts.TYPES if "f" not in t),
    ]
    validator = jsonschema.Draft202012Validator(schema)
    for row in GOOD.values():
        validator.validate(row["program"])
    refused = [r for r in HOSTILE if "text" not in r and not validator.is_valid(json.loads(text_of(r)))]
    assert len(refused) > 60
