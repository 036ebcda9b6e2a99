"""A checkpoint's bytes: what comes back, and that no damage goes unseen."""

import numpy as np
import pytest

from edgenet.errors import CheckpointInvalid, NotFinite
from edgenet.lora.checkpoint import Checkpoint, FileStore
from tests.unit.lora_runs import run

STATES = {
    name: np.linspace(-1, 1, 9, dtype=np.float32) * i for i, name in enumerate(("parameters", "first", "second"), 1)
}
IDENTITY = {"model": "a", "configuration": "b", "data": "c"}


def made(**more):
    return Checkpoint(**{"step": 4, "states": STATES, "identity": IDENTITY, **more})


@pytest.mark.parametrize(
    "more",
    [{}, {"best": np.float32([1, 2, 3]), "best_loss": 2.0, "best_step": 3, "waited": 1}],
    ids=["plain", "with a best one"],
)
def test_a_checkpoint_comes_back_from_its_bytes(more):
    data = made(**more).to_bytes()
    again = Checkpoint.from_bytes(data)
    assert again.to_bytes() == data and (again.step, again.identity, again.waited) == (
        4,
        IDENTITY,
        more.get("waited", 0),
    )
    assert all(again.states[name].tobytes() == values.tobytes() for name, values in STATES.items())
    assert (again.best is None) == (not more) and again.best_loss == more.get("best_loss")


def test_a_changed_or_missing_byte_is_seen():
    data = made().to_bytes()
    for at in range(0, len(data), 7):
        changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        for wrong in (data[:at], changed):
            try:
                assert (
                    Checkpoint.from_bytes(wrong).to_bytes() != data
                )  # a changed number of a step is no damage to be seen
            except CheckpointInvalid:
                pass


def test_numbers_that_changed_are_refused():
    data = made().to_bytes()
    with pytest.raises(CheckpointInvalid, match="not those"):
        Checkpoint.from_bytes(data[:-4] + b"\0\0\0\0")


@pytest.mark.parametrize("wrong", [b"", b"{}", b"\0" * 64], ids=["nothing", "JSON", "zeros"])
def test_what_is_no_checkpoint_is_refused(wrong):
    with pytest.raises(CheckpointInvalid):
        Checkpoint.from_bytes(wrong)


def test_numbers_that_are_not_finite_are_never_kept():
    with pytest.raises(NotFinite):
        made(states=STATES | {"first": np.float32([np.nan])}).to_bytes()


def test_a_store_in_a_file_is_replaced_whole():
    class Disk:
        files = {}

        def read(self, path):
            return self.files.get(path)

        def write(self, path, data):
            self.files[path] = data

    async def kept():
        store = FileStore(Disk(), "folder/checkpoint")
        before = await store.read()
        await store.write(b"one")
        return before, await store.read()

    assert run(kept()) == (None, b"one")
