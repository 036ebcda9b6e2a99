"""The table of language-model kernels, its twins in C and in the module, and the interpreter that walks programs of them."""

import ast
import json
import re
import struct
from pathlib import Path

import numpy as np
import pytest

from edgenet.host.wasmtime_engine import Instance, WasmtimeRuntime
from edgenet.kernels.lm import record, table
from edgenet.kernels.lm.interpreter import CONTROL_BYTES, END, SLOTS_AT
from edgenet.kernels.lm.table import CODES, OPS
from edgenet.kernels.lm.training_table import HYPER, HYPER_NAMES

ROOT = Path(__file__).resolve().parents[2]
LM = ROOT / "wasm" / "lm"
SOURCE = "\n".join(p.read_text() for p in sorted([*LM.glob("*.c"), *LM.glob("*.h")]))


def test_the_function_table_has_the_order_of_op_codes():
    body = re.search(r"#define OPS\(X\)(.*?)\n\n", (LM / "table.c").read_text(), re.S)[1]
    assert re.findall(r"X\((\w+)\)", body) == [op.name for op in OPS]


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_c_structs_follow_the_table(op):
    body = re.search(r"typedef struct \{((?:(?!typedef).)*?)\} " + op.name + "_args;", SOURCE, re.S)[1]
    code = re.sub(r"//[^\n]*", "", body)
    fields = [re.split(r"[\s*]+", f.strip())[-1] for line in code.split(";") if line.strip() for f in line.split(",")]
    assert fields == [a.name for a in op.args]


@pytest.mark.parametrize(
    "name,value",
    [("MAX_THREADS", table.MAX_THREADS), ("MAX_HEAD_DIM", table.MAX_HEAD_DIM), ("MAX_LORA_RANK", table.MAX_RANK)],
)
def test_limits_are_the_same_in_c(name, value):
    assert re.search(rf"#define {name} (\d+)", SOURCE)[1] == str(value)


def test_the_words_of_control_lie_where_the_host_writes_them():
    body = re.search(r"typedef struct \{([^}]*)\} control;", (LM / "interpreter.h").read_text())[1]
    sizes = [(name, int(count or 1)) for name, count in re.findall(r"uint32_t (\w+)(?:\[(\d+)\])?;", body)]
    places = {name: sum(size for _, size in sizes[:i]) for i, (name, _) in enumerate(sizes)}
    assert (4 * places["slots"], 4 * sum(size for _, size in sizes)) == (SLOTS_AT, CONTROL_BYTES)
    assert int(re.search(r"#define END (\w+)u", SOURCE)[1], 16) == END


def test_names_of_enums_are_the_same_in_c():
    for prefix, names in (
        ("ACT", table.ACT_NAMES),
        ("STYLE", table.STYLE_NAMES),
        ("KV", table.KV_NAMES),
        ("POOL", table.POOL_NAMES),
    ):
        wanted = ", ".join(f"{prefix}_{n.upper()}" for n in names)
        assert f"{{ {wanted} }}" in SOURCE


def test_the_words_of_an_update_are_those_of_the_c_struct():
    body = re.sub(r"//[^\n]*", "", re.search(r"typedef struct \{([^}]*)\} hyper;", SOURCE)[1])
    names = re.findall(r"(\w+)(?=[,;])", re.sub(r"\[\d+\]", "", body))
    assert tuple(names) == (*HYPER_NAMES, "reserved") and len(names) + 3 == HYPER


def test_a_record_fits_its_header():
    assert all(op.words <= 32 for op in OPS) and len(CODES) == len(OPS)


def test_the_module_carries_the_table(lm_modules):
    for data in lm_modules.values():
        at = data.index(b"edgenet.lm") + len(b"edgenet.lm")
        assert json.JSONDecoder().raw_decode(data[at:].decode("utf-8", "replace"))[0] == json.loads(
            json.dumps(table.describe())
        )


def test_the_table_is_read_without_numpy():
    for name in ("arguments", "table", "training_table", "layouts"):
        tree = ast.parse((ROOT / "pysrc" / "edgenet" / "kernels" / "lm" / f"{name}.py").read_text())
        assert not any("numpy" in ast.unparse(n) for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom))


def test_extents_count_what_a_kernel_may_touch():
    attention = table.op("attention")
    sizes = {"n": 3, "heads": 4, "kv_heads": 2, "head_dim": 16, "page": 8, "max_pages": 5, "seqs": 2, "cache_pages": 7}
    want = {"q": 3 * 4 * 16 * 4, "pages": 2 * 5 * 4, "kcache": 7 * 2 * 8 * 16 * 4}
    assert {n: table.extent(attention.arg(n), sizes | {"kv_type": 0}) for n in want} == want
    assert table.extent(attention.arg("kcache"), sizes | {"kv_type": 1}) == 7 * 2 * 8 * (16 + 4)
    assert table.extent(attention.arg("kcache"), sizes | {"kv_type": 2}) == 7 * 2 * 8 * (8 + 4)


# --- the interpreter --------------------------------------------------------------------------------------------------
class Machine:
    """Programs of `scale` on numbers in memory: word i of the data is at `self.data + 4 * i`."""

    def __init__(self, runtime, module):
        self.it = Instance(runtime, runtime.compile(module), "engine", 64)
        self.control = record.align(self.it.heap_base)
        self.program, self.data = self.control + 256, self.control + 8192
        self.it.write(self.control, bytes(256))
        self.it.write(self.data, np.arange(1, 9, dtype="<f4").tobytes())

    def run(self, *records, thread=0):
        words = [self.control, *(w for r in records for w in r), END]
        self.it.write(self.program, struct.pack(f"<{len(words)}I", *words))
        return self.it.call("run", self.program, thread, 1)

    def numbers(self):
        return np.frombuffer(self.it.read(self.data, 32), "<f4").tolist()

    def scaled(self, first, count, factor, sync=1, slots=0):
        at = self.data + 4 * first
        bits = struct.unpack("<I", struct.pack("<f", factor))[0]
        return [CODES["scale"] | 5 << 16, sync, slots, at, at, 1, count, bits]


@pytest.fixture
def machine(lm_modules):
    with WasmtimeRuntime(tick_ms=5, budget=4000) as runtime:
        yield Machine(runtime, lm_modules["simd"])


def test_records_run_in_order(machine):
    assert machine.run(machine.scaled(0, 2, 2, sync=0), machine.scaled(1, 2, 10)) == 0
    assert machine.numbers() == [2, 40, 30, 4, 5, 6, 7, 8]


def test_a_slot_stands_for_its_value(machine):
    machine.it.write(machine.control + 192 + 4 * 3, (5).to_bytes(4, "little"))
    assert machine.run(machine.scaled(0, 3, 2, slots=1 << 3)) == 0  # argument word 3 is d
    assert machine.numbers() == [2, 4, 6, 8, 10, 6, 7, 8]


BAD = [
    ("an op that is not in the table", lambda r: [len(OPS) | 5 << 16, *r[1:]]),
    ("more words than any op has", lambda r: [CODES["scale"] | 33 << 16, 1, 0, *[0] * 33]),
    ("a slot that is not there", lambda r: [r[0], 1, 1, 16, *r[4:]]),
]


@pytest.mark.parametrize("reason,spoil", BAD, ids=[b[0] for b in BAD])
def test_a_damaged_record_is_refused(machine, reason, spoil):
    assert machine.run(spoil(machine.scaled(0, 1, 2))) == 3
    assert machine.numbers() == [1, 2, 3, 4, 5, 6, 7, 8]


def test_the_first_failure_ends_the_run_with_its_code(machine):
    empty = machine.scaled(0, 0, 2, sync=0)  # no width: INVALID_PARAMS
    assert machine.run(machine.scaled(0, 1, 2), empty, machine.scaled(1, 1, 2), machine.scaled(2, 1, 2)) == 3
    assert machine.numbers() == [2, 2, 3, 4, 5, 6, 7, 8]
    assert machine.run(machine.scaled(0, 1, 2)) == 0  # and the next run is not troubled


def test_the_abort_word_ends_a_run_at_the_next_barrier_until_it_is_cleared(machine):
    machine.it.write(machine.control + 64, b"\1")
    assert machine.run(machine.scaled(0, 1, 2, sync=0), machine.scaled(1, 1, 2), machine.scaled(2, 1, 2)) == 100
    assert machine.numbers() == [2, 4, 3, 4, 5, 6, 7, 8]
    machine.it.write(machine.control + 64, b"\0")
    assert machine.run(machine.scaled(2, 1, 2)) == 0


@pytest.mark.parametrize("thread,threads", [(1, 1), (-1, 1), (0, 0), (0, 9), (0, 2)])
def test_a_build_of_one_thread_refuses_others(machine, thread, threads):
    machine.run(machine.scaled(0, 1, 1))
    assert machine.it.call("run", machine.program, thread, threads) in (3, 101)
