"""The worker of a language model in Chromium: loading, generating, batches, prefixes, threads, aborts, broken builds, encoders."""

import json
import shutil

import numpy as np
import pytest

from edgenet.kernels.pack import file_entry
from tests.browser import lmmodel
from tests.browser.lmworker import GREEDY, Worker
from tests.kernel_pack import sign
from tools.oracles.small_models import prompt
from tools.paths import ROOT
from tools.steps import wasm


def write_broken(folder, thread=0, longer=8, alone=False):
    """In place of the best build, one that traps as tests/wasm/lm/broken.c says; the pack is signed anew."""
    sources = [
        p for p in [*(wasm.WASM / "ops").glob("*.c"), *(wasm.WASM / "lm").glob("*.c")] if p.name != "interpreter.c"
    ]
    flags = (*wasm.BUILDS["relaxed.threads"][0], f"-DTHREAD={thread}", f"-DLONGER={longer}")
    path = folder / "engine.relaxed.threads.wasm"
    wasm.compile_c(sorted([*sources, ROOT / "tests" / "wasm" / "lm" / "broken.c"]), path, flags, wasm.STACK)
    data = path.read_bytes()
    for section, source in wasm.SECTIONS.items():
        data = wasm.with_section(data, section, wasm.section_json(source))
    path.write_bytes(data)
    pack = json.loads((folder / "kernels.json").read_text())
    pack["modules"]["engine"][0] |= file_entry(path.name, data)
    if alone:
        pack["modules"]["engine"] = pack["modules"]["engine"][:1]
        for kernel in pack["kernels"]:
            if kernel["module"] == "engine":
                kernel |= {k: v for k, v in file_entry(path.name, data).items() if k != "size"}
    raw = json.dumps(pack).encode()
    return {path.name: data, "kernels.json": raw, "kernels.json.sig": sign(raw)}


# --- numbers
def test_greedy_tokens_are_those_of_numpy(lm_worker, decoder):
    worker = lm_worker()
    expected, lead = lmmodel.Reference(decoder).greedy(prompt(21), 24)
    assert lead > 0.02  # wide enough for int8 activations
    answer = worker.ask("generate", tokens=prompt(21), options=GREEDY)
    assert answer["tokens"] == expected
    assert answer["usage"] == {"prompt": 21, "completion": 24, "cached": 0}
    assert answer["reason"] == "length"


def test_logits_of_every_token_are_those_of_numpy(lm_worker, decoder):
    worker = lm_worker()
    tokens = prompt(37)
    logits = np.array(worker.ask("logits", tokens=tokens)).reshape(37, -1)
    reference = lmmodel.Reference(decoder)
    for at in (0, 15, 16, 36):
        expected = reference.logits(tokens[: at + 1])
        cosine = logits[at] @ expected / np.linalg.norm(logits[at]) / np.linalg.norm(expected)
        assert cosine > 0.999


def test_the_same_bits_on_any_threads_isolated_or_not(lm_worker):
    found = []
    for isolated, threads in [(True, 1), (True, 2), (False, None)]:
        worker = lm_worker(isolated=isolated, threads=threads)
        assert (worker.info["isolated"], worker.info["threads"]) == (isolated, threads or 1)
        answer = worker.ask("generate", tokens=prompt(21), options={"seed": 7, "maxTokens": 24})
        found.append((answer["tokens"], worker.ask("logits", tokens=prompt(45))))
    assert found[0] == found[1] == found[2]


def test_four_requests_together_say_what_each_says_alone(lm_worker):
    worker = lm_worker()
    requests = [
        {"tokens": prompt(n), "options": {"seed": n, "maxTokens": 20, "temperature": 0.9, "repetitionPenalty": 1.1}}
        for n in (5, 21, 45, 33, 60, 2)
    ]
    alone = []
    for request in requests:
        worker.ask("clear")
        alone.append(worker.ask("generate", **request)["tokens"])
    worker.ask("clear")
    assert [a["tokens"] for a in worker.together(*requests)] == alone


def test_a_prefix_seen_before_is_not_computed_again(lm_worker):
    worker = lm_worker()
    first = worker.ask("generate", tokens=prompt(45), options=GREEDY)
    again = worker.ask("generate", tokens=prompt(45), options=GREEDY)
    longer = worker.ask("generate", tokens=prompt(45) + first["tokens"], options=GREEDY)
    assert [a["usage"]["cached"] for a in (first, again, longer)] == [0, 44, 68]
    assert again["tokens"] == first["tokens"]
    worker.ask("clear")
    assert worker.ask("memory")["pages"]["used"] == 0
    assert worker.ask("generate", tokens=prompt(45) + first["tokens"], options=GREEDY)["tokens"] == longer["tokens"]


# --- text
def test_text_streams_in_pieces_that_add_up_and_stops_at_a_stop_sequence(lm_worker):
    worker = lm_worker()
    whole = worker.ask("generate", prompt="Hello", options=GREEDY)
    pieces = worker.events(status="piece")
    assert "".join(e["text"] for e in pieces) == whole["text"]
    assert [t for e in pieces for t in e["tokens"]] == whole["tokens"][: sum(len(e["tokens"]) for e in pieces)]
    assert worker.ask("decode", tokens=whole["tokens"])["text"] == whole["text"]
    assert worker.ask("encode", text="Hello")["tokens"] != []
    stop = whole["text"][5:8]
    cut = worker.ask("generate", prompt="Hello", options={**GREEDY, "stopSequences": [stop]})
    assert (cut["text"], cut["reason"]) == (whole["text"][: whole["text"].index(stop)], "stop")


def test_a_seed_is_told_and_makes_the_same_text_again(lm_worker):
    worker = lm_worker()
    first = worker.ask("generate", prompt="Hello", options={"maxTokens": 12})
    again = worker.ask("generate", prompt="Hello", options={"maxTokens": 12, "seed": first["seed"]})
    assert again["text"] == first["text"]


def test_an_answer_ends_with_the_context_or_shifts_it(lm_worker):
    worker = lm_worker()
    full = worker.ask("generate", tokens=prompt(120), options={"temperature": 0})
    assert (full["reason"], full["usage"]["completion"]) == ("context", 9)
    shifted = worker.ask("generate", tokens=prompt(120), options=GREEDY | {"contextPolicy": "shift"})
    assert shifted["reason"] == "length"
    assert shifted["tokens"][:9] == full["tokens"]
    assert worker.fails("generate", tokens=prompt(129))["code"] == "context_full"


def test_a_cancel_is_heard_and_others_go_on(lm_worker):
    worker = lm_worker()
    long = {"tokens": prompt(21), "options": {"temperature": 0, "maxTokens": 100_000, "contextPolicy": "shift"}}
    ended = worker.page.evaluate("([n, a]) => lm.cancel(n, a, 5)", [worker.name, long])
    assert ended["error"]["name"] == "AbortError"
    assert (ended["active"], ended["waiting"]) == (0, 0)
    assert worker.ask("generate", tokens=prompt(21), options=GREEDY)["usage"]["cached"] > 0


def test_the_abort_word_ends_a_run_and_what_was_not_cancelled_is_run_again(lm_worker, decoder):
    worker = lm_worker(threads=2)
    words = worker.page.evaluate(
        "([n, a]) => lm.interrupt(n, a)", [worker.name, {"tokens": prompt(21), "options": GREEDY}]
    )
    assert words["set"] >= 1
    assert words["left"] == 0
    assert words["answer"]["tokens"] == lmmodel.Reference(decoder).greedy(prompt(21), 24)[0]


# --- memory, files, builds
def test_memory_is_told_and_a_dropped_file_says_the_same(lm_worker):
    worker = lm_worker()
    stored = worker.ask("generate", tokens=prompt(21), options=GREEDY)["tokens"]
    memory = worker.ask("memory")
    assert memory["modelBytes"] > 80_000
    assert memory["kvCacheBytes"] == 2 * 2 * 32 * 2 * 16 * 16 * 4  # layers, K and V, pages, heads, page, head, f32
    assert memory["wasmBytes"] >= memory["modelBytes"] + memory["kvCacheBytes"] + memory["arenaBytes"]
    other = Worker(worker.page, "dropped")
    other.load(folder="dropped/decoder")
    assert other.ask("generate", tokens=prompt(21), options=GREEDY)["tokens"] == stored
    phases = {e["phase"] for e in worker.events(worker="dropped", status="progress")}
    assert phases == {"read", "warmup"}


def test_without_isolation_one_thread_and_the_reason_are_told(lm_worker):
    worker = lm_worker(isolated=False)
    assert [w["code"] for w in worker.info["why"]] == ["one_thread"]
    assert worker.events(status="fallback", code="one_thread")
    assert not worker.info["word"]


def test_a_build_that_fails_makes_room_for_the_next(page, lm_site):
    site = lm_site()
    pack = json.loads(site.server.content("/kernels/kernels.json"))
    assert [b["path"] for b in pack["modules"]["engine"]][:2] == [
        "engine.relaxed.threads.wasm",
        "engine.simd.threads.wasm",
    ]
    page.goto(site.server.url + "/")
    worker = Worker(page)
    worker.js("pull", "decoder")
    assert worker.load(id="decoder", version="1.0.0", without=["relaxed.threads"])["build"] == "simd.threads"


@pytest.mark.parametrize("thread", [0, 1])
def test_a_build_that_traps_in_an_answer_is_replaced_and_the_answer_goes_on(
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
    answer = worker.ask("generate", tokens=prompt(21), options=GREEDY)
    assert answer["tokens"] == lmmodel.Reference(decoder).greedy(prompt(21), 24)[0]
    (said,) = worker.events(status="fallback", code="engine_build_failed")
    assert "relaxed.threads failed" in said["reason"]
    status = worker.ask("status")
    assert (status["build"], status["threads"]) == ("simd.threads", 2)


def test_a_build_that_traps_under_an_encoder_is_replaced_and_every_text_has_its_vector(
    page, lm_site, lm_folder, tmp_path
):
    shutil.copytree(lm_folder / "kernels", tmp_path / "kernels")
    site = lm_site()
    for name, data in write_broken(tmp_path / "kernels", thread=1).items():
        site.put(f"kernels/{name}", data)
    page.goto(site.server.url + "/")
    worker = Worker(page)
    worker.js("pull", "encoder")
    assert worker.load(id="encoder", version="1.0.0", threads=2)["build"] == "relaxed.threads"
    vectors = [worker.ask("embed", texts=["ab"])["vectors"] for _ in range(12)]
    np.testing.assert_allclose(vectors, [vectors[0]] * 12, atol=1e-3)  # builds round differently
    assert worker.ask("status")["build"] == "simd.threads"
    assert [e["abort"] is not None for e in worker.events(status="recovered")] == [True]


def test_a_build_that_fails_its_health_check_is_not_given_a_model(page, lm_site, lm_folder, tmp_path):
    shutil.copytree(lm_folder / "kernels", tmp_path / "kernels")
    site = lm_site()
    for name, data in write_broken(tmp_path / "kernels", longer=0).items():
        site.put(f"kernels/{name}", data)
    page.goto(site.server.url + "/")
    worker = Worker(page)
    worker.js("pull", "decoder")
    assert worker.load(id="decoder", version="1.0.0")["build"] == "simd.threads"
    assert [e["build"] for e in worker.events(code="engine_build")] == ["relaxed.threads", "simd.threads"]
    (said,) = worker.events(status="fallback", code="engine_build_failed")
    assert "health" in said["reason"] or "stopped in the kernel" in said["reason"]


def test_a_trap_with_no_other_build_is_told_and_ends_the_worker(page, lm_site, lm_folder, tmp_path):
    shutil.copytree(lm_folder / "kernels", tmp_path / "kernels")
    site = lm_site()
    for name, data in write_broken(tmp_path / "kernels", alone=True).items():
        site.put(f"kernels/{name}", data)
    page.goto(site.server.url + "/")
    worker = Worker(page)
    worker.js("pull", "decoder")
    worker.load(id="decoder", version="1.0.0", threads=1)
    assert worker.fails("generate", tokens=prompt(21), options=GREEDY)["code"] == "kernel_unreachable"
    assert worker.fails("status")["code"] == "worker_died"


def test_threads_that_cannot_be_started_leave_one_and_the_reasons(page, lm_site, decoder):
    site = lm_site()
    site.server.fault("/workers/lm-thread.js", "status", 404)
    page.goto(site.server.url + "/")
    worker = Worker(page)
    worker.js("pull", "decoder")
    info = worker.load(id="decoder", version="1.0.0", threads=2)
    assert (info["build"], info["threads"]) == ("relaxed", 1)
    assert [w["code"] for w in info["why"]] == ["engine_build_failed", "engine_build_failed", "one_thread"]
    answer = worker.ask("generate", tokens=prompt(21), options=GREEDY)
    assert answer["tokens"] == lmmodel.Reference(decoder).greedy(prompt(21), 24)[0]


BAD_FILES = [
    ("cut short", lambda data: data[: len(data) // 2], "lm.load", "model_invalid"),
    ("a scale that is no number", lambda data: data[:-96] + b"\xff" * 96, "lm.load", "model_invalid"),
    ("numbers that overflow", lambda _: lmmodel.gguf("llama", factors=[("output_norm.weight", 1e38)]), "lm.generate", "output_not_finite"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "change", "kind", "code"), BAD_FILES, ids=[row[0] for row in BAD_FILES])
def test_a_bad_file_is_a_named_error(page, lm_site, decoder, what, change, kind, code):
    site = lm_site()
    site.put("dropped/decoder/model.gguf", change(decoder))
    page.goto(site.server.url + "/")
    worker = Worker(page)
    loaded = page.evaluate("lm.load('one', {folder: 'dropped/decoder'})")
    answer = loaded if kind == "lm.load" else page.evaluate("lm.call('one', 'lm.generate', {tokens: [1, 2]})")
    assert answer["error"]["code"] == code
    failed = [e["reason"] for e in worker.events(status="fallback", code="engine_build_failed")]
    assert all("not finite" in reason for reason in failed)


def test_a_second_model_in_one_worker_is_refused(lm_worker):
    worker = lm_worker()
    answer = worker.page.evaluate("lm.load('one', {id: 'decoder', version: '1.0.0'})")
    assert answer["error"]["code"] == "invalid_option"
    worker.ask("dispose")
    assert worker.fails("generate", prompt="a")["code"] == "no_model"


# --- encoders
def test_packed_texts_have_the_vectors_that_each_has_alone_in_numpy(lm_worker, encoder):
    worker = lm_worker("encoder")
    texts = ["w1 w2 w3", "w4", "w5 w6 w7 w8 w9 w10 w11", "w1 w2 w3 w200", " ".join(f"w{i}" for i in range(60))]
    answer = worker.ask("embed", texts=texts)
    vectors = np.array(answer["vectors"]).reshape(len(texts), -1)
    reference = lmmodel.Reference(encoder)
    for text, vector, count in zip(texts, vectors, answer["tokens"], strict=True):
        tokens = [2, *worker.ask("encode", text=text)["tokens"], 3]
        assert len(tokens) == count
        assert vector @ reference.vector(tokens) > 0.999
    assert worker.fails("generate", prompt="w1")["code"] == "not_supported"
