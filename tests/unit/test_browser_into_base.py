"""Kept adapters merged into the page's model, by messages: the file, its figures, what stops it. A played page. CPython and Pyodide."""

from asyncio import CancelledError
from dataclasses import replace

import numpy as np
import pytest

from edgenet.errors import EdgeNetError
from edgenet.host import browser_into_base
from edgenet.lora import document, peft
from edgenet.lora.into_base import merged_into_base
from edgenet.lora.merge import merge_whole
from tests.unit import small_adapters
from tests.unit.lora_runs import run
from tests.unit.played_page import NAME, PlayedPage

FILES, ADAPTER = small_adapters.files(NAME), small_adapters.adapter(NAME)
HEADER, BASE = small_adapters.header(NAME), small_adapters.base(NAME)


@pytest.fixture
def page():
    page = PlayedPage()
    page.id = page.call("library.import", binary={"files": FILES}, name="mine")["id"]
    return page


def into(page, ids=None, **more):
    return page.call("library.into", ids=ids or [page.id], made="x", **more)


def expected(*adapters, type_name=""):
    """The file as Python alone writes it, and its report."""
    out = bytearray()

    async def read(part, offset, length):
        return BASE[offset : offset + length]

    async def write(piece):
        out.extend(piece)

    report = run(merged_into_base(HEADER, read, run(merge_whole(adapters)).adapter, write, type_name=type_name))
    return bytes(out), report


@pytest.mark.parametrize("kind", ["", "q8_0"])
@pytest.mark.parametrize("piece", [1, 4 << 20])
def test_the_file_is_the_one_that_python_writes(page, kind, piece, monkeypatch):
    monkeypatch.setattr(browser_into_base, "PIECE", piece)
    answer = into(page, type=kind)
    kept = peft.unpacked(page.kept[f"library/{page.id}.safetensors"], "mine")
    data, report = expected(kept, type_name=kind)
    assert page.whole == data and answer["into"] == report and page.made is None
    assert answer["file"] == "qwen2-mine.gguf" and answer["evaluation"] is None


def test_progress_is_the_files_bytes(page):
    page.events.clear()
    into(page)
    told = [event["loaded"] for event in page.events if event["phase"] == "write"]
    assert told == sorted(told) and told[0] == 0 and told[-1] == len(page.whole)
    assert {event["total"] for event in page.events if event["phase"] == "write"} == {len(page.whole)}


def test_several_are_merged_on_the_way_at_a_rank_that_leaves_nothing_out(page):
    other = page.call("library.import", binary={"files": {"x.json": doubled()}}, name="other")["id"]
    answer = into(page, [page.id, other], options={"strategy": "task_arithmetic", "weights": [1, -0.5]}, name="both")
    assert answer["merge"]["error"] < 1e-6 and answer["file"] == "qwen2-both.gguf"
    assert answer["into"]["error"] < 1, "one and half of the double of minus it are nothing"


def doubled():
    """Another adapter: twice what the first does."""
    tensors = {path: (A, 2 * B) for path, (A, B) in ADAPTER.tensors.items()}
    return document.write(replace(ADAPTER, tensors=tensors, name="other"))


def test_the_loss_is_told_as_it_is_and_with_the_adapter(page):
    answer = into(page, data=["some words of mine, and some more of them"])
    plain, adapted = answer["evaluation"]
    apart = page.call("train.evaluate", data=["some words of mine, and some more of them"], adapter={"saved": page.id})
    assert adapted == apart and plain["loss"] != adapted["loss"] and np.isfinite(plain["bitsPerByte"])
    assert page.added == set(), "its Programs are gone"


STOPS = {"merge": 1, "evaluate": 1, "write": 3}


@pytest.mark.parametrize("phase", STOPS)
def test_a_stop_is_heard_at_the_next_step_and_leaves_nothing(page, phase):
    heard = []

    def hear(event):
        heard.append(event["phase"])
        page.stopped = heard.count(phase) >= STOPS[phase]

    page.on_event = hear
    with pytest.raises(EdgeNetError) as caught:
        into(page, data=["some words of mine"])
    assert caught.value.code == "aborted" and heard.count(phase) == STOPS[phase] and heard[-1] == phase
    assert (page.made, page.whole, page.added) == (None, None, set())


def test_a_merge_of_adapters_stops_after_the_module_under_way_and_keeps_nothing(page):
    kept, heard = dict(page.kept), []

    def hear(event):
        heard.append(event["loaded"])
        page.stopped = event["loaded"] == 2

    page.on_event = hear
    with pytest.raises(EdgeNetError) as caught:
        page.call("library.merge", ids=[page.id, page.id], options={"strategy": "average", "rank": 1})
    assert caught.value.code == "aborted" and heard == [0, 1, 2] and page.kept == kept


REFUSED = {
    "no room": ("quota_exceeded", {}),
    "a type that is not written": ("tensor_type_unsupported", {"type": "q4_k"}),
    "an unknown adapter": ("adapter_not_found", {"ids": ["x"]}),
    "an option of another strategy": ("invalid_option", {"options": {"density": 0.3}}),
    "texts that hold nothing": ("training_data_too_little", {"data": [""]}),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_cannot_be_is_refused_by_name_and_leaves_nothing(page, why):
    code, args = REFUSED[why]
    page.room = 1000
    with pytest.raises(EdgeNetError) as caught:
        into(page, **args)
    assert caught.value.code == code and (page.made, page.whole) == (None, None)


def test_a_type_that_is_refused_names_one_that_is_not(page):
    with pytest.raises(EdgeNetError, match='type: "q8_0"'):
        into(page, type="q4_k")


def test_a_cancel_between_two_pieces_removes_what_was_written(page, monkeypatch):
    monkeypatch.setattr(browser_into_base, "PIECE", 1)
    work = page.calling("library.into", ids=[page.id], made="x")
    while not page.made:
        work.send(None)
    with pytest.raises(CancelledError):
        work.throw(CancelledError())
    assert (page.made, page.whole) == (None, None)
