"""The pool of adapters: kept whole whatever stops the program, found by name. Runs anywhere."""

import json
from dataclasses import replace

import numpy as np
import pytest

from edgenet.errors import AdapterExists, AdapterNotFound, InvalidAdapter, InvalidOption, StorageError
from edgenet.host.files import Disk
from edgenet.host.storage import FolderStorage
from edgenet.lora import LoraConfig
from edgenet.lora.adapter import Adapter
from edgenet.lora.pool import DATA, RECORD, Pool
from tests.trust_vectors import FixedClock, run

CLOCK = FixedClock("2026-01-01T00:00:00Z")
Q = "model.layers.0.self_attn.q_proj"


def adapter(name, value=None):
    """1,024 bytes of factors."""
    A, B = np.ones((2, 64), np.float32), np.full((64, 2), value or float(sum(name.encode())), np.float32)
    return Adapter(LoraConfig(r=2, lora_alpha=4, target_modules=("q_proj",)), {Q: (A, B)}, name=name)


class Memory:
    """A storage that dies at its `last` change, which leaves the old bytes or, `late`, all of the new ones."""

    def __init__(self, data=None, last=None, late=False):
        self.data, self.left, self.late = dict(data or {}), last, late

    async def list(self):
        return sorted(self.data)

    async def get(self, name):
        return self.data.get(name)

    async def put(self, name, data):
        self._change(lambda: self.data.__setitem__(name, bytes(data)))

    async def delete(self, name):
        self._change(lambda: self.data.pop(name, None))

    def _change(self, change):
        dies = self.left == 0
        self.left = None if self.left is None else self.left - 1
        if not dies or self.late:
            change()
        if dies:
            raise KeyboardInterrupt


def opened(storage=None):
    return run(Pool(storage or Memory(), CLOCK).open())


def filled(*names):
    storage = Memory()
    pool = opened(storage)
    for name in names:
        run(pool.add(adapter(name)))
    return pool, storage


def names(pool):
    return sorted(entry.name for entry in pool.entries)


def test_what_was_added_is_there_after_a_restart():
    pool, storage = filled("a", "b")
    run(pool.add(adapter("a"), {"loss": 1.5}))
    run(pool.learn("a", np.eye(3, dtype=np.float32)[:2], ["one", "two"]))
    again = opened(storage)
    assert [entry.to_bytes() for entry in again.entries] == [entry.to_bytes() for entry in pool.entries]
    found = run(again.get("a"))
    assert found.id == adapter("a").id and np.array_equal(found.delta(Q), adapter("a").delta(Q))
    assert again.find("a").metrics == {"loss": 1.5} and again.find("a").profile.examples == ("one", "two")
    assert (again.find("a").bytes, again.find("a").created) == (1024, "2026-01-01T00:00:00Z")


def test_a_folder_keeps_it_on_a_disk(tmp_path):
    storage = FolderStorage(tmp_path / "adapters", Disk())
    assert run(storage.list()) == [] and run(storage.get("x")) is None
    run(opened(storage).add(adapter("a")))
    assert names(opened(storage)) == ["a"] and len(run(storage.list())) == 2
    run(opened(storage).remove("a"))
    assert run(storage.list()) == []


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a\0b", "x" * 201])
def test_a_name_that_leaves_the_folder_is_refused(tmp_path, name):
    with pytest.raises(InvalidOption):
        run(FolderStorage(tmp_path, Disk()).put(name, b""))


CHANGES = {
    "add": lambda pool: run(pool.add(adapter("new"))),
    "replace": lambda pool: run(pool.add(replace(adapter("a"), metadata={"x": 1}))),
    "remove": lambda pool: run(pool.remove("a")),
    "rename": lambda pool: run(pool.rename("a", "z")),
}


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("change", CHANGES)
def test_whatever_stops_a_change_every_adapter_is_whole_or_gone(change, late):
    before = filled("a", "b")[1].data | {"left-over.safetensors": b"x"}
    whole = Memory(before)
    CHANGES[change](opened(whole))
    after, stopped = names(opened(whole)), 0
    for last in range(10):
        storage = Memory(before, last, late)
        try:
            CHANGES[change](opened(storage))
        except KeyboardInterrupt:
            stopped += 1
        storage.left = None
        pool = opened(storage)
        assert names(pool) in (["a", "b"], after) and all(run(pool.get(name)).name == name for name in names(pool))
        run(pool.add(adapter("next")))  # and the next change clears what was left over
        assert {name.partition(".")[0] for name in storage.data} == {entry.id for entry in pool.entries}
    assert 1 <= stopped < 10


def test_a_record_that_was_damaged_is_made_anew_from_its_adapter():
    pool, storage = filled("a")
    id = pool.find("a").id
    for damage in (b"", b"{", b"[]", json.dumps({"name": "a"}).encode()):
        again = opened(Memory(storage.data | {id + RECORD: damage}))
        assert names(again) == ["a"] and again.find(id).bytes == 1024


def test_an_adapter_of_which_nothing_can_be_read_keeps_nobody_from_the_others():
    pool, storage = filled("a", "b")
    id = pool.find("a").id
    again = opened(Memory(storage.data | {id + RECORD: b"{", id + DATA: b"broken"}))
    assert names(again) == ["b"]
    assert run(again.add(adapter("a"))).id == id


def test_a_damaged_adapter_is_a_named_error_and_can_be_removed():
    pool, storage = filled("a", "b")
    storage.data[pool.find("a").id + DATA] = b"broken"
    with pytest.raises(InvalidAdapter):
        run(pool.get("a"))
    run(pool.remove("a"))
    assert names(opened(storage)) == ["b"]


def test_a_full_disk_leaves_what_was_there(tmp_path):
    class Full(Disk):
        def write(self, path, data, mode=0o644):
            raise StorageError("full")

    run(opened(FolderStorage(tmp_path, Disk())).add(adapter("a")))
    with pytest.raises(StorageError):
        run(opened(FolderStorage(tmp_path, Full())).add(adapter("b")))
    assert names(opened(FolderStorage(tmp_path, Disk()))) == ["a"]


# --- names
def test_an_adapter_is_found_by_name_id_and_the_beginning_of_its_id():
    pool, _ = filled("a", "b")
    id = pool.find("a").id
    assert pool.find(id) == pool.find(id[:8]) == pool.find("a")


@pytest.mark.parametrize("ref", ["c", "", "0", "A", "a "])
def test_a_name_that_nobody_has_is_refused_with_those_there_are(ref):
    with pytest.raises(AdapterNotFound, match="a, b"):
        filled("a", "b")[0].find(ref)


def test_a_name_is_given_once():
    pool, _ = filled("a", "b")
    for change in (pool.rename("a", "b"), pool.add(adapter("b", 9))):
        with pytest.raises(AdapterExists):
            run(change)
    with pytest.raises(InvalidAdapter):
        run(pool.rename("a", "line\nbreak"))
    assert run(pool.rename("a", "a")).name == "a" and run(pool.get(run(pool.rename("a", "Grüße")).id)).name == "Grüße"


def test_the_same_adapter_again_is_one_adapter():
    pool, storage = filled("a")
    run(pool.add(adapter("a"), {"loss": 1}))
    run(pool.add(replace(adapter("a"), name="again")))
    assert names(pool) == ["again"] and pool.find("again").metrics == {"loss": 1} and len(storage.data) == 2


def test_a_record_of_before_is_read_and_what_it_told_stays():
    """It had a slot and a pin, and neither the file that was trained on nor who signed."""
    pool, storage = filled("a")
    name = pool.find("a").id + RECORD
    record = json.loads(storage.data[name]) | {"slot": 3, "pinned": True, "metrics": {"loss": 1}}
    old = {key: value for key, value in record.items() if key not in ("base_sha256", "signed_by")}
    found = opened(Memory(storage.data | {name: json.dumps(old).encode()})).find("a")
    assert (found.metrics, found.base_sha256, found.signed_by) == ({"loss": 1}, "", None)


def test_who_signed_and_which_file_was_trained_on_is_told_of_what_came_last():
    """Neither is part of what an adapter does: with or without, it is one adapter."""
    pool, storage = filled("a")
    run(pool.add(replace(adapter("a"), base_sha256="ab" * 32), signed_by="21fe31dfa154a261"))
    found = opened(storage).find("a")
    assert (found.base_sha256, found.signed_by) == ("ab" * 32, "21fe31dfa154a261")
    run(pool.add(adapter("a")))
    assert (pool.find("a").base_sha256, pool.find("a").signed_by) == ("", None)
