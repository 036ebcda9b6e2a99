"""Sources in Python: chunk arithmetic, the plan of addresses, and the verified download against an opener that misbehaves. Any Python."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgenet.errors import AllSourcesFailed, HttpStatusError, NetworkError, SourceUnsupported
from edgenet.integrity import describe, leaves_of
from edgenet.sources import chunks as c
from edgenet.sources.download import Download
from edgenet.sources.plan import Candidate, candidates, only, prefer

CHUNK = 1024
DATA = bytes((i * 7 + i // 251) % 256 for i in range(10 * CHUNK + 333))
ARTIFACT, _ = describe(iter([DATA]), "model.bin", CHUNK)
LEAVES = leaves_of(ARTIFACT)


# --- chunks ----------------------------------------------------------------------------------------------------------
@given(st.sets(st.integers(0, 200)), st.integers(1, 12))
def test_runs_are_the_chunks_in_order_and_never_too_long(numbers, limit):
    found = list(c.runs(sorted(numbers), limit))
    assert [i for run in found for i in run] == sorted(numbers)
    assert all(len(run) <= limit and run == list(range(run[0], run[0] + len(run))) for run in found)


@given(st.sets(st.integers(0, 99)), st.integers(1, 5000))
def test_a_bitset_is_a_set(numbers, size):
    bits = c.bitset(100)
    for i in range(100):
        c.set_bit(bits, i, i in numbers)
    assert {i for i in range(100) if c.has_bit(bits, i)} == numbers
    assert c.missing(bits, 100) == sorted(set(range(100)) - numbers)


@given(st.integers(0, 100_000), st.integers(1, 3000))
def test_chunk_lengths_add_up_to_the_file(size, chunk_size):
    count = max(1, -(-size // chunk_size))
    assert sum(c.chunk_length(i, chunk_size, size) for i in range(count)) == size


def test_bits_are_numbered_as_in_the_browser():
    bits = c.bitset(10)
    c.set_bit(bits, 9)
    assert bytes(bits) == b"\x00\x02"


# --- plan ------------------------------------------------------------------------------------------------------------
PLACE = "https://site.example/sub/models/a/1/manifest.json"
FILE = {"filename": "onnx/model q8.onnx", "cid": "bafkreiabc"}
PLANS = [
    ("no sources: beside the manifest", [], ["https://site.example/sub/models/a/1/onnx/model%20q8.onnx"]),
    (
        "relative base",
        [{"type": "cdn", "baseUrl": "../../files/"}],
        ["https://site.example/sub/models/files/onnx/model%20q8.onnx"],
    ),
    (
        "base without the last slash",
        [{"type": "gcs", "baseUrl": "https://b.example/x"}],
        ["https://b.example/x/onnx/model%20q8.onnx"],
    ),
    (
        "by priority",
        [
            {"type": "ipfs", "priority": 2, "gateways": ["https://g.example/ipfs/"]},
            {"type": "cdn", "priority": 1, "baseUrl": "./"},
        ],
        ["https://site.example/sub/models/a/1/onnx/model%20q8.onnx", "https://g.example/ipfs/bafkreiabc"],
    ),
    (
        "unknown types are skipped",
        [{"type": "carrier-pigeon"}, {"type": "cdn", "baseUrl": "./"}],
        ["https://site.example/sub/models/a/1/onnx/model%20q8.onnx"],
    ),
    (
        "an address once",
        [{"type": "cdn", "baseUrl": "./"}, {"type": "http", "baseUrl": "./"}],
        ["https://site.example/sub/models/a/1/onnx/model%20q8.onnx"],
    ),
    ("a fetched manifest cannot name local files", [{"type": "cdn", "baseUrl": "file:///etc/"}], []),
]


@pytest.mark.parametrize(("reason", "sources", "urls"), PLANS, ids=[row[0] for row in PLANS])
def test_candidates(reason, sources, urls):
    assert [row.url for row in candidates({"sources": sources}, FILE, PLACE)] == urls


def test_our_own_gateways_come_last_and_need_a_cid():
    rows = candidates({"sources": []}, FILE, PLACE, ["https://g.example/ipfs"])
    assert [row.url for row in rows][1:] == ["https://g.example/ipfs/bafkreiabc"]
    assert len(candidates({"sources": []}, {"filename": "x"}, PLACE, ["https://g.example/ipfs"])) == 1


def test_a_local_manifest_gives_folder_sources():
    assert [row.kind for row in candidates({"sources": []}, FILE, "file:///data/a/manifest.json")] == ["folder"]


def test_only_and_prefer():
    rows = [Candidate("cdn", "a", 1), Candidate("ipfs", "b", 2)]
    assert only(rows, None, "x") == rows and only(rows, "ipfs", "x") == rows[1:] and prefer(rows, "ipfs") == rows[::-1]
    with pytest.raises(SourceUnsupported, match="cdn, ipfs"):
        only(rows, "folder", "x")


# --- download --------------------------------------------------------------------------------------------------------
@dataclass
class Answer:
    url: str
    span: tuple[int, int] | None
    total: int | None
    blocks: object


@dataclass
class Place:
    """A source in memory. `cuts`: one entry per answer, bytes after which it breaks; `fail`: errors of the first answers."""

    data: bytes = DATA
    ranged: bool = True
    cuts: list[int] = field(default_factory=list)
    fail: list[Exception] = field(default_factory=list)
    asked: list = field(default_factory=list)


class Opener:
    def __init__(self, **places):
        self.places = places

    @asynccontextmanager
    async def open(self, url, span=None):
        place = self.places[url]
        place.asked.append(span)
        await asyncio.sleep(0)
        if place.fail:
            raise place.fail.pop(0)
        start, stop = span if span and place.ranged else (0, len(place.data))
        body = place.data[start:stop]
        cut = place.cuts.pop(0) if place.cuts else None
        yield Answer(url, span if place.ranged else None, len(place.data), _blocks(body, cut))


async def _blocks(body, cut):
    for i in range(0, len(body[:cut]), 700):
        await asyncio.sleep(0)
        yield body[:cut][i : i + 700]
    if cut is not None:
        raise NetworkError("reset")


class Sink:
    def __init__(self, held=()):
        self.kept = {i: b"" for i in held}

    def missing(self):
        return [i for i in range(len(LEAVES)) if i not in self.kept]

    def has(self, i):
        return i in self.kept

    def keep(self, i, data):
        assert i not in self.kept, "a chunk was kept twice"
        assert data == DATA[i * CHUNK : (i + 1) * CHUNK], "a wrong chunk was kept"
        self.kept[i] = data


def download(sink, held=(), artifact=ARTIFACT, parallel=3, retries=2, **places):
    """Run a download; gives its events and how long it would have waited."""
    events, waits = [], []

    async def wait(seconds):
        waits.append(seconds)

    rows = [Candidate("cdn", url, n) for n, url in enumerate(places)]
    asyncio.run(
        Download(
            Opener(**places),
            sink,
            rows,
            artifact,
            LEAVES,
            parallel=parallel,
            retries=retries,
            wait=wait,
            emit=events.append,
        ).run()
    )
    return events, waits


def flipped(*chunks):
    data = bytearray(DATA)
    for i in chunks:
        data[i * CHUNK + 3] ^= 4
    return bytes(data)


@pytest.mark.parametrize("parallel", [1, 2, 16])
def test_everything_arrives(parallel):
    sink = Sink()
    download(sink, parallel=parallel, a=Place())
    assert sink.missing() == []


def test_only_what_is_missing_is_asked_for():
    place, sink = Place(), Sink(held=[0, 1, 2, 5, 6, 7, 8, 9, 10])
    download(sink, a=place)
    assert place.asked == [(3 * CHUNK, 5 * CHUNK)]


def test_a_wrong_chunk_comes_from_the_next_source_alone():
    good, sink = Place(), Sink()
    events, _ = download(sink, a=Place(flipped(4)), b=good)
    assert good.asked == [(4 * CHUNK, 5 * CHUNK)]
    assert [(e["status"], e["code"]) for e in events] == [("fallback", "hash_mismatch")]


def test_a_source_that_is_often_wrong_is_left_out():
    bad, good = Place(flipped(*range(11))), Place()
    events, _ = download(Sink(), parallel=1, a=bad, b=good)
    assert len(bad.asked) == 1 and "not asked again" in events[-1]["reason"]


def test_all_sources_wrong_keeps_what_is_right_and_says_who_failed():
    sink = Sink()
    with pytest.raises(AllSourcesFailed) as caught:
        download(sink, parallel=1, a=Place(flipped(10)), b=Place(flipped(10)))
    assert sink.missing() == [10] and caught.value.details["chunk"] == 10
    assert [row["code"] for row in caught.value.details["attempts"]] == ["hash_mismatch"] * 2


def test_a_cut_inside_a_chunk_goes_on_from_the_last_whole_one():
    place = Place(cuts=[2 * CHUNK + 5])
    download(Sink(), parallel=1, a=place)
    assert place.asked[:2] == [(0, 8 * CHUNK), (2 * CHUNK, 8 * CHUNK)]


def test_cuts_that_bring_something_each_time_are_never_too_many():
    _, waits = download(Sink(), parallel=1, retries=1, a=Place(cuts=[CHUNK + 1] * 9))
    assert set(waits) == {0.5}


def test_waits_grow_and_end_at_the_next_source():
    _, waits = download(Sink(), parallel=1, retries=3, a=Place(fail=[NetworkError("down")] * 9), b=Place())
    assert waits == [0.5, 1.0, 2.0]


@pytest.mark.parametrize(("status", "asked"), [(404, 1), (403, 1), (503, 3), (429, 3)])
def test_which_statuses_are_tried_again(status, asked):
    place = Place(fail=[HttpStatusError("no", status=status)] * 9)
    download(Sink(), parallel=1, a=place, b=Place())
    assert len(place.asked) == asked


def test_a_server_that_ignores_ranges_is_read_once_for_all():
    place = Place(ranged=False)
    events, _ = download(Sink(held=[0]), parallel=4, a=place)
    assert place.asked.count(None) == 1
    assert {e["code"] for e in events} == {"range_unsupported"}


def test_another_file_of_another_size_is_not_read():
    events, _ = download(Sink(), parallel=1, a=Place(DATA + b"x"), b=Place())
    assert events[0]["code"] == "size_mismatch"


def test_an_answer_that_ends_early_is_a_broken_connection():
    class Short(Opener):
        @asynccontextmanager
        async def open(self, url, span=None):
            self.places[url].asked.append(span)
            yield Answer(url, span, len(DATA), _blocks(DATA[span[0] : span[1] - 1], None))

    rows = [Candidate("cdn", "a", 1)]
    with pytest.raises(AllSourcesFailed, match="ended inside chunk"):
        asyncio.run(Download(Short(a=Place()), Sink(), rows, ARTIFACT, LEAVES, parallel=1, retries=0).run())


def test_a_cancelled_download_leaves_no_task_behind():
    async def scenario():
        class Stuck(Opener):
            @asynccontextmanager
            async def open(self, url, span=None):
                self.places[url].asked.append(span)
                await asyncio.Event().wait()
                yield

        opener = Stuck(a=Place())
        task = asyncio.ensure_future(
            Download(opener, Sink(), [Candidate("cdn", "a", 1)], ARTIFACT, LEAVES, parallel=2).run()
        )
        while len(opener.places["a"].asked) < 2:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]

    assert asyncio.run(scenario()) == []
