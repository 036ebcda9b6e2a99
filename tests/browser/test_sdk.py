"""The SDK on the built site with the real model: loading, embedding, searching, failing, and coming back after a death."""

import re
from pathlib import Path

import pytest

from tests.browser.hosting import blank

pytestmark = pytest.mark.browser
ROOT = Path(__file__).resolve().parents[2]
MODEL = "minilm-l6-v2-q8"
WEIGHTS = re.compile(r"/models/.*/model\.gguf$")

# What every test's page knows: `open(options)` makes a loader and a session, `caught(work)` answers an error as data.
PRELUDE = """async () => {
  const sdk = await import("./edgenet.js");
  window.sdk = sdk;
  window.said = [];
  window.workers = [];
  const Real = window.Worker;
  window.Worker = class extends Real { constructor(url, ...rest) { super(url, ...rest); workers.push([String(url), this]); } };
  window.make = (options) => {
    const loader = new sdk.ModelLoader(options);
    for (const kind of ["fallback", "notice"]) loader.addEventListener(kind, ({ detail }) => said.push(detail));
    return (window.loader = loader);
  };
  window.open_ = async (options, load = {}) => (window.session = await make(options).load("MODEL", load));
  window.caught = async (work) => { try { return { result: await work() }; } catch (e) { return { name: e.name, code: e.code, message: e.message, details: e.details }; } };
  window.until = async (met) => {
    for (const end = performance.now() + 90_000; !(await met()); await new Promise((resolve) => setTimeout(resolve, 10))) if (performance.now() > end) throw new Error(`never came: ${met}`);
  };
}""".replace("MODEL", MODEL)


@pytest.fixture
def sdk(page, site):
    """A page of the site with the SDK imported."""
    blank(page, site())
    page.evaluate(PRELUDE)
    return page


def code_of(page, work):
    answer = page.evaluate(f"() => caught({work})")
    assert "code" in answer, answer
    return answer["code"]


def test_progress_is_one_true_total_in_order_and_ends_with_ready(sdk):
    events = sdk.evaluate(
        "async () => { const all = []; await open_({}, { onProgress: (e) => all.push(e) }); return all; }"
    )
    assert [e["progress"] for e in events] == sorted(e["progress"] for e in events)
    assert len({e["total"] for e in events if e["phase"] == "download"}) == 1
    phases = list(dict.fromkeys(e["phase"] for e in events))
    assert phases == ["manifest", "download", "compile", "warmup"]
    assert events[-1]["status"] == "ready" and events[-1]["progress"] == 100 and events[-1]["name"] == MODEL
    assert events[-1]["loaded"] == events[-1]["total"] > 20_000_000


def test_vectors_have_length_one_keep_their_order_and_mean_something(sdk):
    found = sdk.evaluate("""async () => {
      const s = await open_();
      const texts = ["a cat on the sofa", "tax law", "the kitten sleeps on the couch"];
      const batch = await s.embedBatch(texts), alone = await Promise.all(texts.map((t) => s.embed(t)));
      const worst = Math.max(...batch.map((v, i) => Math.max(...v.map((x, j) => Math.abs(x - alone[i][j])))));
      return { worst, norms: batch.map((v) => Math.hypot(...v)), d: batch[0].length, close: await s.similarity(texts[0], texts[2]), far: await s.similarity(texts[0], texts[1]) };
    }""")
    assert found["d"] == 384 and found["norms"] == pytest.approx([1, 1, 1], abs=1e-5)
    assert found["worst"] < 2e-2, "a text's vector hardly depends on its neighbours in the batch (8-bit activations)"
    assert found["close"] > 0.6 > 0.3 > found["far"]


def test_a_second_visit_runs_from_the_cache_without_asking_for_weights(sdk):
    asked = []
    sdk.on("request", lambda request: asked.append(request.url) if WEIGHTS.search(request.url) else None)
    sdk.evaluate("open_()")
    sdk.reload()
    sdk.evaluate(PRELUDE)
    before = len(asked)
    answer = sdk.evaluate(
        "async () => { await open_(); return [await loader.isCached('MODEL'), (await loader.getCachedModels()).length]; }".replace(
            "MODEL", MODEL
        )
    )
    assert answer == [True, 1]
    assert len(asked) == before


def test_compatibility_and_manifest_are_answered_before_any_weight_byte(sdk):
    asked = []
    sdk.on("request", lambda request: asked.append(request.url) if WEIGHTS.search(request.url) else None)
    answer = sdk.evaluate("""async () => {
      const l = make(), [row] = await l.listModels({ type: "embedding", quantization: "INT8" });
      return { row, none: await l.listModels({ type: "translation" }), fits: await l.checkCompatibility(row.id), manifest: await l.getManifest(row.id) };
    }""")
    assert answer["row"]["id"] == answer["manifest"]["id"] == MODEL and answer["none"] == []
    assert answer["fits"]["ok"] is True
    assert asked == []


def test_the_index_finds_replaces_and_forgets(sdk):
    found = sdk.evaluate("""async () => {
      const s = await open_();
      await s.index.put("pets", await s.embedBatch(["kittens sleep a lot", "cats hunt mice"]));
      await s.index.put("money", await s.embedBatch(["taxes are due in April"]));
      const top = async (text) => (await s.index.search({ text, k: 1 })).results[0];
      const first = await top("feline"), vector = await s.embed("revenue office");
      const byVector = (await s.index.search({ vector, k: 1 })).results[0];
      await s.index.put("pets", await s.embedBatch(["dogs bark"]));
      const gone = await s.index.delete("money"), again = await s.index.delete("money");
      return { first, byVector, gone, again, size: s.index.size, memory: s.getMemoryInfo(), left: (await s.index.search({ text: "tax", k: 9 })).results };
    }""")
    assert found["first"]["id"] == "pets" and found["byVector"]["id"] == "money"
    assert (found["gone"], found["again"], found["size"]) == (True, False, 1)
    assert [(hit["id"], hit["row"]) for hit in found["left"]] == [("pets", 0)]
    assert found["memory"]["modelBytes"] > 20_000_000 and found["memory"]["indexBytes"] > 0


REFUSED = [
    ("an unknown option", "invalid_option", "() => make({ cach: {} })"),
    ("a backend that cannot run", "not_supported", "() => make({ backend: 'webgpu' })"),
    ("an unknown model", "model_not_found", "() => make().load('nobody')"),
    ("an unknown address", "invalid_option", "() => make({ urls: { modells: 'x' } })"),
]
REFUSED_BY_A_SESSION = [
    ("an empty text", "empty_text", "session.embed('  ')"),
    ("an empty batch", "empty_batch", "session.embedBatch([])"),
    ("a number for a text", "not_text", "session.embedBatch(['a', 7])"),
    ("no list of texts", "not_text", "session.embedBatch('a')"),
    ("generating with an encoder", "not_supported", "session.generate('x')"),
    ("a vector of another length", "wrong_length", "session.index.put('a', new Float32Array(5))"),
    ("a vector that is not finite", "not_finite", "session.index.put('a', new Float32Array(384).fill(NaN))"),
    ("vectors as plain numbers", "wrong_type", "session.index.put('a', [[1, 2]])"),
    ("neither text nor vector", "invalid_option", "session.index.search({})"),
    ("k of nothing", "invalid_option", "session.index.search({ text: 'a', k: 0 })"),
    (
        "an adapter of another size",
        "wrong_length",
        "session.setAdapter({ A: new Float32Array(7), B: new Float32Array(7), alpha: 1 })",
    ),
    ("a document that is not there", "document_not_found", "session.index.get('nobody')"),
    (
        "a mark on a document that is not there",
        "document_not_found",
        "session.teach.mark({ query: 'a', id: 'nobody', row: 0, relevant: true })",
    ),
    ("a teaching file that is none", "backup_invalid", "session.teach.import(new Uint8Array([255, 254]))"),
]


@pytest.mark.parametrize(("why", "code", "work"), REFUSED, ids=[row[0] for row in REFUSED])
def test_a_loader_refuses_by_name(sdk, why, code, work):
    assert code_of(sdk, work) == code


def test_a_session_refuses_by_name_and_goes_on(sdk):
    sdk.evaluate("open_()")
    found = {why: code_of(sdk, f"() => {work}") for why, _, work in REFUSED_BY_A_SESSION}
    assert found == {why: code for why, code, _ in REFUSED_BY_A_SESSION}
    assert sdk.evaluate("async () => (await session.embed('still here')).length") == 384
    assert sdk.evaluate("loader.status().then((s) => s.restarts)") == 0


def test_disposed_things_say_so(sdk):
    sdk.evaluate("open_()")
    sdk.evaluate("session.dispose()")
    assert code_of(sdk, "() => session.embed('x')") == "disposed"
    sdk.evaluate("loader.dispose()")
    assert code_of(sdk, "() => loader.listModels()") == "disposed"
    created = """async () => {
      const s = await sdk.InferenceSession.create("MODEL");
      const n = (await s.embed("x")).length, at = workers.length;
      await s.dispose();
      return [n, at > 2, (await caught(() => s.embed("y"))).code];
    }""".replace("MODEL", MODEL)
    assert sdk.evaluate(created) == [384, True, "disposed"]


def test_one_session_too_many_ends_the_one_used_longest_ago(sdk):
    found = sdk.evaluate(
        """async () => {
      const l = make({ memory: { maxModels: 2 } }), [a, b] = [await l.load("MODEL"), await l.load("MODEL")];
      await a.embed("used now");
      const c = await l.load("MODEL");
      return { a: (await a.embed("x")).length, b: (await caught(() => b.embed("x"))).code, c: (await c.embed("x")).length, engine: (await l.status()).engine.sessions };
    }""".replace("MODEL", MODEL)
    )
    assert found == {"a": 384, "b": "disposed", "c": 384, "engine": 2}
    assert "session_evicted" in sdk.evaluate("said.map((s) => s.code)")


def test_a_cancelled_load_rejects_at_once_and_the_next_one_works(sdk):
    found = sdk.evaluate(
        """async () => {
      const c = new AbortController(), l = make();
      const first = await caught(() => l.load("MODEL", { signal: c.signal, onProgress: (e) => { if (e.phase === "download" && e.loaded > 0) c.abort(); } }));
      const before = await caught(() => l.load("MODEL", { signal: AbortSignal.abort() }));
      return { first: first.name, before: before.name, then: (await (await l.load("MODEL")).embed("x")).length };
    }""".replace("MODEL", MODEL)
    )
    assert found == {"first": "AbortError", "before": "AbortError", "then": 384}


def test_a_cancelled_batch_frees_the_engine_and_a_search_does_not_wait_for_a_batch(sdk):
    found = sdk.evaluate("""async () => {
      const s = await open_(), c = new AbortController(), texts = Array.from({ length: 2000 }, (_, i) => `text number ${i} about nothing in particular`);
      await s.index.put("a", await s.embedBatch(["x"]));
      let done = 0;
      const batch = caught(() => s.embedBatch(texts, { signal: c.signal, onProgress: (e) => { done = e.loaded; } }));
      await until(() => done > 0);
      const [hit] = (await s.index.search({ text: "x", k: 1 })).results;
      const meanwhile = done;
      c.abort();
      return { batch: (await batch).name, hit: hit.id, meanwhile, after: (await s.embed("y")).length };
    }""")
    assert found["batch"] == "AbortError" and found["hit"] == "a" and found["after"] == 384
    assert found["meanwhile"] < 2000, "the search was answered before the batch ended"


KILL = "() => { for (const [url, worker] of workers) if (url.endsWith('engine.js')) worker.terminate(); }"


def test_a_dead_engine_is_replaced_from_the_cache_and_the_index_is_filled_again(sdk):
    sdk.evaluate("""async () => {
      const s = await open_(), vectors = await s.embedBatch(["cats", "dogs"]);
      window.fills = 0;
      s.index.refill = async () => { fills++; return [["a", vectors]]; };
      await s.index.put("a", vectors);
    }""")
    sdk.evaluate(KILL)
    sdk.evaluate("until(() => said.some((s) => s.code === 'engine_restarted'))")
    found = sdk.evaluate(
        "async () => [(await session.embed('x')).length, (await session.index.search({ text: 'cats', k: 1 })).results[0].row, fills, (await loader.status()).restarts]"
    )
    assert found == [384, 0, 1, 1]


def test_without_a_refill_a_lost_index_says_so_instead_of_finding_nothing(sdk):
    sdk.evaluate(
        "async () => { const s = await open_(); window.v = await s.embedBatch(['cats']); await s.index.put('a', v); }"
    )
    sdk.evaluate(KILL)
    sdk.evaluate("until(() => said.some((s) => s.code === 'engine_restarted'))")
    assert code_of(sdk, "() => session.index.search({ text: 'cats' })") == "index_lost"
    assert code_of(sdk, "() => session.index.put('b', v)") == "index_lost"
    found = sdk.evaluate(
        "async () => { await session.index.clear(); await session.index.put('a', v); return (await session.index.search({ text: 'cats' })).results.length; }"
    )
    assert found == 1


def test_what_waits_on_a_dying_engine_is_told(sdk):
    sdk.evaluate("open_()")
    waiting = "window.waiting = caught(() => session.embedBatch(Array.from({ length: 500 }, (_, i) => `text ${i}`)))"
    sdk.evaluate(f"() => {{ {waiting}; ({KILL})(); }}")
    assert sdk.evaluate("waiting")["code"] == "worker_died"
    assert sdk.evaluate("async () => (await session.embed('x')).length") == 384


HANGING = """onmessage = ({ data }) => {
  if (data.kind === "load") for (;;) {}
  if (data.kind !== "alive" && data.kind !== "rpc.alive") postMessage({ id: data.id, result: {} });
}"""


def test_an_engine_that_hangs_is_stopped_and_the_next_load_gets_a_fresh_one(page, site):
    page.context.route(
        "**/workers/engine.js",
        lambda route: route.fulfill(
            body=HANGING,
            content_type="text/javascript",
            headers={"Cross-Origin-Embedder-Policy": "require-corp", "Cross-Origin-Resource-Policy": "same-origin"},
        ),
        times=1,
    )
    blank(page, site())
    page.evaluate(PRELUDE)
    found = page.evaluate(
        "async () => { const l = make({ testing: { patience: 2000 } }); return caught(() => l.load('MODEL')); }".replace(
            "MODEL", MODEL
        )
    )
    assert found["code"] == "engine_deadline", found
    assert (
        page.evaluate("async () => (await (await make().load('MODEL')).embed('x')).length".replace("MODEL", MODEL))
        == 384
    )


def test_an_insecure_address_is_named_before_anything_else_fails(persistent_context, site):
    context = persistent_context(args=["--host-resolver-rules=MAP lan.test 127.0.0.1"])
    page = context.new_page()
    page.goto(site().replace("localhost", "lan.test") + "embed.html")  # does nothing outside a frame
    assert page.evaluate("isSecureContext") is False
    error = page.evaluate("""async () => {
      const { ModelLoader } = await import("./edgenet.js");
      try { await new ModelLoader().load("x"); } catch (e) { return { code: e.code, message: e.message }; }
    }""")
    assert error["code"] == "insecure_context"
    assert "https" in error["message"] and "localhost" in error["message"] and "lan.test" in error["message"]


def test_a_page_that_is_not_isolated_works_on_one_thread_and_says_so(page, site):
    blank(page, site(isolated=False), isolated=False)
    page.evaluate(PRELUDE)
    status = page.evaluate(
        "async () => { const s = await open_({ threads: 2 }); await s.embed('x'); return loader.status(); }"
    )
    assert (status["isolated"], status["threads"]) == (False, 1)
    assert {"not_isolated", "threads_one"} <= {reason["code"] for reason in status["reasons"]}
    assert sorted(page.evaluate("said.map((s) => s.code)")) == ["not_isolated", "threads_one"]


def test_the_first_snippet_of_the_sdk_page_runs_as_printed(page, site):
    snippet = re.findall(r"```html\n(.*?)```", (ROOT / "docs" / "sdk.md").read_text(), re.S)[0]
    url = site()
    headers = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}
    page.route(
        "**/snippet.html",
        lambda route: route.fulfill(body=f"<!doctype html>{snippet}", content_type="text/html", headers=headers),
    )
    with page.expect_console_message(lambda message: re.fullmatch(r"0\.\d{5,}", message.text)) as printed:
        page.goto(url + "snippet.html")
    assert float(printed.value.text) > 0.5
