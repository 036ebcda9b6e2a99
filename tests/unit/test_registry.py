"""The local cache's promises: a set bit is true whatever stops the program, files are shared, eviction goes by last use. CPython only."""

import asyncio
import errno
import itertools
import json
import os

import pytest

from edgenet.errors import NotCached, StorageError
from edgenet.host.files import Disk
from edgenet.integrity import describe, leaves_of
from edgenet.manifest import parse
from edgenet.registry.store import Store
from edgenet.registry.stored import version_order
from tests.trust_vectors import load

CHUNK = 1024
DATA = bytes(i % 251 for i in range(3 * CHUNK + 5))


def artifact(data=DATA, name="model.onnx"):
    return describe(iter([data]), name, CHUNK)[0]


def manifest(name="a", version="1.0.0", **artifacts):
    return parse(
        {
            "schemaVersion": 1,
            "id": name,
            "name": name,
            "version": version,
            "type": "embedding",
            "sources": [],
            "artifacts": artifacts or {"model": artifact()},
        }
    )


class Crash(Exception):
    """The power fails here."""


class CrashingDisk(Disk):
    """Stops the program at the n-th write, half of whose bytes get through."""

    def __init__(self, writes):
        self.left = writes

    def _put(self, handle, data):
        self.left -= 1
        if self.left < 0:
            super()._put(handle, bytes(data)[: len(data) // 2])
            raise Crash
        super()._put(handle, data)


def store(tmp_path, disk=None):
    ticks = itertools.count()
    return Store(tmp_path, disk or Disk(), lambda: f"2026-01-01T00:00:{next(ticks):02}Z")


def fill(cache, entry=None, data=DATA):
    file = cache.file(entry or artifact(data))
    for i in file.missing():
        file.keep(i, data[i * CHUNK : (i + 1) * CHUNK])


@pytest.mark.parametrize("writes", range(9))
def test_every_set_bit_is_true_after_a_crash_at_any_write(tmp_path, writes):
    try:
        fill(store(tmp_path, CrashingDisk(writes)))
    except Crash:
        pass
    after = store(tmp_path)
    file = after.file(artifact())
    assert file.wrong_chunks(leaves_of(artifact())) == []
    assert file.held >= max(0, writes // 2 - 1) * CHUNK
    fill(after)
    assert after.path(artifact()["merkleRoot"]).read_bytes() == DATA


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"{",
        b"[]",
        b'{"size": 1}',
        b'{"size": 3077, "chunkSize": 1024, "have": "zz"}',
        b'{"size": 3077, "chunkSize": 1024, "have": "0f0f"}',
        b'{"size": 3077, "chunkSize": 1024, "have": 7}',
    ],
)
def test_a_broken_record_means_nothing_is_held(tmp_path, record):
    cache = store(tmp_path)
    fill(cache)
    cache.path(artifact()["merkleRoot"]).with_suffix(".json").write_bytes(record)
    assert store(tmp_path).file(artifact()).held == 0


def test_a_record_without_its_file_means_nothing_is_held(tmp_path):
    cache = store(tmp_path)
    fill(cache)
    cache.path(artifact()["merkleRoot"]).unlink()
    assert cache.file(artifact()).held == 0


def test_versions_share_files_and_the_last_one_takes_them_along(tmp_path):
    cache, tokenizer = store(tmp_path), artifact(b"{}", "tokenizer.json")
    old = cache.put(manifest("a", "1.0.0", model=artifact(), tokenizer=tokenizer), "u", "signed")
    new = cache.put(manifest("a", "1.1.0", model=artifact(DATA[::-1]), tokenizer=tokenizer), "u", "signed")
    for entry, data in ((artifact(), DATA), (artifact(DATA[::-1]), DATA[::-1]), (tokenizer, b"{}")):
        fill(cache, entry, data)
    assert cache.total() == 2 * len(DATA) + 2
    assert cache.remove(old) == len(DATA)
    assert cache.complete(new)
    assert cache.remove(new) == len(DATA) + 2
    assert cache.total() == 0


def test_eviction_goes_by_last_use_and_spares_one(tmp_path):
    cache = store(tmp_path)
    for n, name in enumerate("abc"):
        data = DATA + bytes([n])
        cache.put(manifest(name, "1", model=artifact(data)), "u", "signed")
        fill(cache, artifact(data), data)
    cache.used(cache.find("a"))
    assert [m.key for m in cache.evict(2 * (len(DATA) + 1))] == ["b@1"]
    assert [m.key for m in cache.evict(0, keep="c@1")] == ["a@1"]


def test_a_model_record_that_cannot_be_read_is_left_out(tmp_path):
    cache = store(tmp_path)
    cache.put(manifest("a"), "u", "signed")
    (cache.folder / "models" / "b@1.json").write_text("{")
    assert [m.key for m in cache.models()] == ["a@1.0.0"]


def test_paths_of_an_incomplete_model_are_not_given_out(tmp_path):
    cache = store(tmp_path)
    model = cache.put(manifest("a"), "u", "signed")
    with pytest.raises(NotCached, match="pull a"):
        cache.paths(model)


def test_versions_are_ordered_as_semver_says():
    rows = load("versions")["ascending"]
    assert [len({version_order(version) for version in row}) for row in rows] == [1] * len(rows)
    ordered = [row[0] for row in rows]
    assert sorted(reversed(ordered), key=version_order) == ordered


def test_a_write_shows_the_old_or_the_new_bytes(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"old")
    with pytest.raises(Crash):
        CrashingDisk(0).write(path, b"newer bytes")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_a_lock_is_held_by_one_and_freed_at_the_end(tmp_path):
    async def scenario():
        disk, order = Disk(), []

        async def take(name, entered, leave):
            async with disk.locked(tmp_path / "l", lambda: order.append(f"{name} waits")):
                order.append(name)
                entered.set()
                await leave.wait()

        events = [asyncio.Event() for _ in range(4)]
        first = asyncio.ensure_future(take("a", events[0], events[1]))
        await events[0].wait()
        second = asyncio.ensure_future(take("b", events[2], events[1]))
        while "b waits" not in order:
            await asyncio.sleep(0)
        assert order == ["a", "b waits"]
        events[1].set()
        await asyncio.gather(first, second)
        return order

    assert asyncio.run(scenario()) == ["a", "b waits", "b"]


@pytest.mark.skipif(os.name != "posix", reason="plays the lock of POSIX systems")
@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EIO], ids=errno.errorcode.get)
def test_a_folder_that_knows_no_locks_is_an_error_not_an_endless_wait(tmp_path, monkeypatch, code):
    def flock(*_):
        raise OSError(code, os.strerror(code))

    async def scenario():
        async with Disk().locked(tmp_path / "l", lambda: pytest.fail("it waits for another process")):
            pytest.fail("it believes to have the lock")

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.raises(StorageError, match=os.strerror(code)):
        asyncio.run(scenario())


def test_clearing_leaves_a_file_that_is_being_fetched_alone(tmp_path):
    """Else the fetching process would go on in a new file, and count the chunks of the old one as there."""

    async def scenario():
        cache = store(tmp_path)
        model = cache.put(manifest(), "u", "signed")
        async with cache.lock(artifact()):
            file = cache.file(artifact())
            file.keep(0, DATA[:CHUNK])
            assert store(tmp_path).remove(model) == 0
            for i in file.missing():
                file.keep(i, DATA[i * CHUNK : (i + 1) * CHUNK])
        assert cache.path(artifact()["merkleRoot"]).read_bytes() == DATA
        assert cache.remove(model) == len(DATA) and not list((tmp_path / "v1" / "locks").iterdir())

    asyncio.run(scenario())


def test_a_lock_whose_file_was_removed_meanwhile_is_not_taken(tmp_path):
    async def scenario():
        disk, waits = Disk(), asyncio.Event()
        async with disk.locked(tmp_path / "l"):
            second = asyncio.ensure_future(_enter(disk.locked(tmp_path / "l", waits.set)))
            await waits.wait()
            (tmp_path / "l").unlink()
        lock = await second
        with disk.if_free(tmp_path / "l") as free:
            assert not free
        await lock.__aexit__(None, None, None)
        with disk.if_free(tmp_path / "l") as free:
            assert free

    asyncio.run(scenario())


async def _enter(lock):
    await lock.__aenter__()
    return lock


def test_the_record_says_what_the_file_is(tmp_path):
    cache = store(tmp_path)
    fill(cache)
    record = json.loads(cache.path(artifact()["merkleRoot"]).with_suffix(".json").read_text())
    assert record == {"size": len(DATA), "chunkSize": CHUNK, "have": "0f", "complete": True}
