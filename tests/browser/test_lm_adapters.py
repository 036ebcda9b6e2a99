"""Adapters of requests in the worker of a language model, in Chromium: PEFT's numbers, batches of different ones, who leaves the pool, broken builds."""

import shutil

import numpy as np
import pytest

from edgenet.lora.bound import engine_bytes
from tests.adapters import header_of, merged, random_adapter
from tests.browser import lmmodel
from tests.browser.lmworker import GREEDY, Worker
from tests.browser.test_lm_engine import write_broken
from tests.unit import small_adapters
from tools.oracles.small_adapters import PROMPT
from tools.oracles.small_models import ROWS, prompt

NAMES = ["a", "b", "c"]


def adapters_of(data):
    """{name: random adapter} of a model's file."""
    return {name: random_adapter(header_of(data), name) for name in NAMES}


def load(worker, site, data, adapter, **args):
    """The worker's answer to an adapter that the page fetched, made ready for the model in the file."""
    site.put(f"adapters/{adapter.name}", engine_bytes(adapter, header_of(data)))
    return worker.js("adapter", worker.name, f"adapters/{adapter.name}", {"id": adapter.name, **args})


@pytest.fixture
def open_with(lm_worker, decoder):
    """A function: a worker with the model loaded, and the random adapters."""

    def start(data=decoder, model="decoder", **args):
        worker = lm_worker(model, **args)
        for adapter in adapters_of(data).values():
            load(worker, worker.site, data, adapter)
        return worker

    return start


def wish(**scales):
    return [{"id": name, "scale": scale} for name, scale in scales.items()]


def cosine(a, b):
    return float(np.ravel(a) @ np.ravel(b) / np.linalg.norm(a) / np.linalg.norm(b))


# --- numbers
def test_the_logits_are_those_of_peft_on_a_model_that_is_not_quantised(lm_worker, exact):
    worker = lm_worker("exact")
    load(worker, worker.site, exact, small_adapters.adapter("llama").renamed("llama"))
    found = np.array(worker.ask("logits", tokens=PROMPT, adapters=wish(llama=1))).reshape(len(PROMPT), -1)[-ROWS:]
    peft = small_adapters.unpacked(small_adapters.recorded("llama")["logits"], ROWS, -1)
    np.testing.assert_allclose(found, peft, atol=1e-3)
    plain = np.array(worker.ask("logits", tokens=PROMPT)).reshape(len(PROMPT), -1)[-ROWS:]
    assert cosine(plain, peft) < 0.9, "it changes what the model says"


MIXES = [{"a": 1}, {"b": -0.5}, {"a": 0.7, "c": 0.4}, {}]


@pytest.mark.parametrize("mix", MIXES, ids=str)
def test_the_logits_are_those_of_the_weights_with_the_deltas_added(open_with, decoder, mix):
    worker = open_with()
    added = [(adapters_of(decoder)[name], scale) for name, scale in mix.items()]
    reference = lmmodel.Reference(merged(decoder, *added))
    found = np.array(worker.ask("logits", tokens=prompt(37), adapters=wish(**mix))).reshape(37, -1)
    for at in (0, 16, 36):
        assert cosine(found[at], reference.logits(prompt(37)[: at + 1])) > 0.999


def test_the_same_bits_on_any_threads_isolated_or_not(open_with):
    found = []
    for isolated, threads in [(True, 1), (True, 2), (False, None)]:  # not isolated: a memory that grows is another one
        worker = open_with(isolated=isolated, threads=threads)
        found.append(worker.ask("logits", tokens=prompt(45), adapters=wish(a=1, b=0.5)))
    assert found[0] == found[1] == found[2]


# --- many requests
def test_requests_of_one_batch_with_different_adapters_say_what_each_says_alone(open_with):
    worker = open_with()
    options = {"seed": 3, "maxTokens": 20, "temperature": 0.9}
    mixes = [{}, {"a": 1}, {"b": 1}, {"a": 0.5, "c": 1}, {"c": -1}, {"a": 1}]
    requests = [{"tokens": prompt(21), "options": options | {"adapters": wish(**mix)}} for mix in mixes]
    alone = []
    for request in requests:
        worker.ask("clear")
        alone.append(worker.ask("generate", **request)["tokens"])
    worker.ask("clear")
    assert [a["tokens"] for a in worker.together(*requests)] == alone
    assert len({tuple(tokens) for tokens in alone}) == 5


def test_switching_leaves_the_prefixes_of_others_where_they_are(open_with):
    worker = open_with()
    mixes = [{}, {"a": 1}, {"b": 1}, {"a": 0.5}]

    def cached():
        options = [GREEDY | {"adapters": wish(**mix)} for mix in mixes]
        return [worker.ask("generate", tokens=prompt(45), options=o)["usage"]["cached"] for o in options]

    assert (cached(), cached()) == ([0] * 4, [44] * 4)


def test_who_was_used_longest_ago_makes_room_and_comes_back_with_the_same_numbers(open_with, decoder):
    worker = open_with()
    before = worker.ask("generate", tokens=prompt(21), options=GREEDY | {"adapters": wish(a=1)})["tokens"]
    pool = worker.ask("adapters.list")
    count = pool["slots"] + 2
    for i in range(count):
        load(worker, worker.site, decoder, random_adapter(header_of(decoder), f"n{i}", rank=1))
    rows = {row["id"]: row for row in worker.ask("adapters.list")["adapters"]}
    assert len(rows) == 3 + count and sum(row["slot"] >= 0 for row in rows.values()) <= pool["slots"]
    assert rows["a"]["slot"] < 0
    worker.ask("clear")
    assert worker.ask("generate", tokens=prompt(21), options=GREEDY | {"adapters": wish(a=1)})["tokens"] == before


# --- what can go wrong
def test_an_adapter_that_is_not_loaded_or_was_unloaded_is_refused_by_name(open_with):
    worker = open_with()
    worker.ask("adapters.unload", id="a")
    for kind, args in {"generate": {"options": {"adapters": wish(a=1)}}, "logits": {"adapters": wish(a=1)}}.items():
        assert worker.fails(kind, tokens=prompt(5), **args)["code"] == "adapter_not_found"
    assert worker.fails("adapters.unload", id="a")["code"] == "adapter_not_found"
    assert [row["id"] for row in worker.ask("adapters.list")["adapters"]] == ["c", "b"]


BAD = {
    "another base": ("adapter_mismatch", lambda ready, other: other),
    "a file cut short": ("adapter_invalid", lambda ready, other: ready[:-4]),
    "no adapter at all": ("adapter_invalid", lambda ready, other: b"GGUF" * 100),
    "nothing": ("adapter_invalid", lambda ready, other: b""),
    "NaN": ("not_finite", lambda ready, other: ready[:-4] + np.float32(np.nan).tobytes()),
}


@pytest.mark.parametrize("why", BAD)
def test_bytes_that_are_no_adapter_of_this_model_are_refused_by_name_and_the_others_run(open_with, decoder, why):
    worker = open_with()
    before = worker.ask("generate", tokens=prompt(9), options=GREEDY | {"adapters": wish(a=1)})["tokens"]
    other = small_adapters.header("qwen2")
    pair = (
        engine_bytes(adapters_of(decoder)["b"], header_of(decoder)),
        engine_bytes(random_adapter(other, "other"), other),
    )
    code, make = BAD[why]
    worker.site.put("adapters/bad", make(*pair))
    answer = worker.page.evaluate("lm.adapter('one', 'adapters/bad', {id: 'bad'})")
    assert answer["error"]["code"] == code
    worker.ask("clear")
    assert worker.ask("generate", tokens=prompt(9), options=GREEDY | {"adapters": wish(a=1)})["tokens"] == before


def test_numbers_too_large_fail_their_own_request_alone_and_no_build(open_with, decoder):
    worker = open_with()
    load(worker, worker.site, decoder, random_adapter(header_of(decoder), "huge", size=1e36))
    mixes = [{"huge": 100}, {"a": 1}, {}]
    requests = [{"tokens": prompt(21), "options": GREEDY | {"adapters": wish(**mix)}} for mix in mixes]
    answers = worker.page.evaluate("([n, l]) => lm.together(n, 'lm.generate', l)", [worker.name, requests])
    assert answers[0]["error"]["code"] == "output_not_finite"
    assert [len(a["result"]["tokens"]) for a in answers[1:]] == [24, 24]
    assert not worker.events(status="fallback", code="engine_build_failed")


@pytest.mark.parametrize("thread", [0, 1])
def test_a_build_that_traps_is_replaced_and_the_answer_goes_on_with_its_adapters(
    page, lm_site, lm_folder, tmp_path, decoder, thread
):
    shutil.copytree(lm_folder / "kernels", tmp_path / "kernels")
    site = lm_site()
    for name, data in write_broken(tmp_path / "kernels", thread).items():
        site.put(f"kernels/{name}", data)
    page.goto(site.server.url + "/")
    worker = Worker(page)
    worker.js("pull", "decoder")
    assert worker.load(id="decoder", version="1.0.0", threads=2)["build"] == "relaxed.threads"
    adapters = adapters_of(decoder)
    for adapter in adapters.values():
        load(worker, site, decoder, adapter)
    answer = worker.ask("generate", tokens=prompt(21), options=GREEDY | {"adapters": wish(a=1)})
    expected, _ = lmmodel.Reference(merged(decoder, (adapters["a"], 1))).greedy(prompt(21), 24)
    assert answer["tokens"] == expected
    assert worker.events(status="fallback", code="engine_build_failed")
    other = worker.ask("generate", tokens=prompt(21), options=GREEDY | {"adapters": wish(b=1)})["tokens"]
    assert other == lmmodel.Reference(merged(decoder, (adapters["b"], 1))).greedy(prompt(21), 24)[0]
