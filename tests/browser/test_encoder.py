"""The published 8-bit MiniLM in Chromium, on the engine: the same vectors as in wasmtime, whatever the threads, the isolation and the build."""

import asyncio
import shutil
import threading

import numpy as np
import pytest

from edgenet.cli.language import kernels, weights_of
from edgenet.host.gguf_files import GgufFiles
from edgenet.host.program import ProgramModel
from edgenet.models.compiled import compile_gguf
from edgenet.session import InferenceSession
from tests.browser.hosting import blank
from tools.paths import OUT, ROOT

pytestmark = pytest.mark.browser
MODEL = "minilm-l6-v2-q8"
SENTENCES = (ROOT / "tests/data/sentences.txt").read_text("utf-8").splitlines()[:40]
TEXTS = [*SENTENCES, " ".join(SENTENCES * 3)]  # the last is longer than the model reads

OPEN = """async ({ version, ...options }) => {
  const sdk = await import("./edgenet.js");
  window.said = [];
  window.loader = new sdk.ModelLoader(options);
  for (const kind of ["fallback", "notice"]) loader.addEventListener(kind, ({ detail }) => said.push(detail.code));
  window.session = await loader.load("MODEL", { version });
  window.embed = async (texts) => (await session.embedBatch(texts)).map((v) => [...v]);
  return session.getMemoryInfo();
}""".replace("MODEL", MODEL)


@pytest.fixture(scope="module")
def wanted():
    """(41, 384): what wasmtime says, in a thread of its own, for Playwright's event loop runs in this one."""
    found = []
    thread = threading.Thread(target=lambda: found.append(asyncio.run(in_wasmtime())))
    thread.start()
    thread.join()
    return found[0]


async def in_wasmtime():
    source = GgufFiles(OUT / "models" / f"{MODEL}-2.0.0" / "model.gguf")
    made = compile_gguf(source.header)
    model = ProgramModel(made, kernels())
    await model.load(weights_of(made.program, source, lambda *_: None))
    session = InferenceSession(model)
    vectors = await session.embed_batch(TEXTS)
    await session.dispose()
    return vectors


def opened(page, url, isolated=True, **options):
    blank(page, url, isolated=isolated)
    return page.evaluate(OPEN, options)


# what is asked of the engine, whether the page is isolated, threads, what is said
PLACES = [
    ("one thread", True, 1, ["text_split"]),
    ("two threads", True, 2, ["text_split"]),
    ("no shared memory", False, 2, ["not_isolated", "text_split", "threads_one"]),
]


@pytest.mark.parametrize(("why", "isolated", "threads", "said"), PLACES, ids=[row[0] for row in PLACES])
def test_vectors_are_wasmtimes(page, site, wanted, why, isolated, threads, said):
    opened(page, site(isolated=isolated), isolated, threads=threads)
    found = np.array(page.evaluate("embed", TEXTS))
    assert (found * wanted).sum(1).min() > 0.99999, "builds differ by the rounding of one instruction"
    assert sorted(page.evaluate("said")) == said


def test_memory_is_counted_and_given_back(page, site):
    memory = opened(page, site(), threads=1)
    assert 20_000_000 < memory["modelBytes"] < memory["wasmBytes"] < 60_000_000
    page.evaluate("session.dispose()")
    assert page.evaluate("loader.status().then((s) => s.engine.sessions)") == 0


def test_a_cancelled_batch_ends_within_a_run_and_the_next_is_whole(page, site, wanted):
    opened(page, site(), threads=2)
    seen, name = page.evaluate(
        """async (texts) => {
      const c = new AbortController();
      let seen = 0;
      const onProgress = () => { seen++; c.abort(); };
      const failed = await session.embedBatch(Array(40).fill(texts).flat(), { signal: c.signal, onProgress }).catch((e) => e);
      return [seen, failed.name];
    }""",
        SENTENCES,
    )
    assert (seen, name) == (1, "AbortError")
    assert (np.array(page.evaluate("embed", TEXTS)) * wanted).sum(1).min() > 0.99999


def test_a_build_that_nobody_signed_is_refused_by_name(page, site):
    page.context.route("**/engine.relaxed.threads.wasm", lambda route: route.fulfill(body=b"\0asm nonsense"))
    blank(page, site())
    refused = page.evaluate(f"(options) => ({OPEN})(options).catch((e) => e.code)", {"threads": 2})
    assert refused == "pack_hash_mismatch"


def test_threads_that_never_start_leave_one_and_the_same_vectors(page, site, dist, tmp_path, wanted):
    shutil.copytree(dist, tmp_path / "site")
    (tmp_path / "site/workers/lm-thread.js").unlink()
    opened(page, site(tmp_path / "site"), threads=2)
    assert (np.array(page.evaluate("embed", TEXTS)) * wanted).sum(1).min() > 0.99999
    assert "engine_build_failed" in page.evaluate("said")


def test_the_onnx_model_is_still_there_and_means_the_same(page, site, wanted):
    opened(page, site(), threads=1, version="1.0.0")
    found = np.array(page.evaluate("embed", SENTENCES))
    assert (found * wanted[:-1]).sum(1).min() > 0.99
