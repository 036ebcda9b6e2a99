"""Python in the page: booted for teaching alone, the same numbers as in CPython, and what it learned outlives it."""

import json
from pathlib import Path

import pytest

from tests.browser.hosting import blank
from tests.browser.test_sdk import PRELUDE

pytestmark = pytest.mark.browser
VECTORS = Path(__file__).resolve().parents[1] / "vectors"

FILL = """async (options) => {
  const s = await open_(options);
  for (const [id, texts] of Object.entries({ pets: ["kittens sleep a lot", "cats hunt mice"], money: ["taxes are due in April", "banks lend money"], sea: ["ships cross the ocean"] }))
    await s.index.put(id, await s.embedBatch(texts));
  window.top_ = async (adapter = true) => { const { results: [hit] } = await session.index.search({ text: "feline pets", k: 1, adapter }); return `${hit.id}/${hit.row}`; };
  window.mark = (id, row, relevant = true) => session.teach.mark({ query: "feline pets", id, row, relevant });
}"""


@pytest.fixture
def taught(page, site):
    """A page with a session, three documents, and `mark` and `top_` for one query."""
    return opened(page, site())


def opened(page, url, options=None):
    blank(page, url.removesuffix("blank.html"))
    page.evaluate(PRELUDE)
    page.evaluate(FILL, options or {})
    return page


def python_requests(page):
    asked = []
    page.on(
        "request",
        lambda r: asked.append(r.url) if "/vendor/pyodide/" in r.url or r.url.endswith("workers/python.js") else None,
    )
    return asked


def test_search_alone_never_fetches_python(page, site):
    asked = python_requests(page)
    opened(page, site())
    assert page.evaluate("top_()").startswith("pets")
    assert asked == []


def test_a_mark_moves_its_passage_to_the_top_undo_puts_the_ranking_back_and_reset_forgets(taught):
    found = taught.evaluate("""async () => {
      const before = await top_(), state = await mark("money", 1), marked = await top_(), plain = await top_(false);
      await session.teach.undo();
      const undone = await top_();
      await mark("money", 0); await mark("sea", 0, false);
      const last = await session.teach.reset();
      return { before, report: state.report, marked, plain, undone, last, after: await top_() };
    }""")
    assert found["marked"] == "money/1" and found["report"]["afterRank"] == 1 < found["report"]["beforeRank"]
    assert found["before"] == found["plain"] == found["undone"] == found["after"]
    assert found["last"] == {"marks": [], "unmet": [], "adapter": None}


def test_what_was_taught_is_back_after_a_reload_without_python(taught):
    taught.evaluate("mark('money', 1)")
    asked = python_requests(taught)
    opened(taught, taught.url)
    assert taught.evaluate("top_()") == "money/1"
    assert [m["id"] for m in taught.evaluate("session.teach.state().marks")] == ["money"]
    assert asked == [] and "teaching_restored" in taught.evaluate("said.map((s) => s.code)")
    assert taught.evaluate("async () => (await session.teach.undo()).marks") == []
    assert taught.evaluate("top_()") == taught.evaluate("top_(false)")


def test_teaching_is_exported_and_put_back_whole_or_not_at_all(taught):
    found = taught.evaluate("""async () => {
      const nothing = await session.teach.export();
      await mark("money", 1);
      const file = await session.teach.export(), bad = file.slice();
      bad[file.length >> 1] ^= 1;
      await session.teach.reset();
      await mark("sea", 0);
      const refused = (await caught(() => session.teach.import(bad))).code, kept = await top_();
      await session.teach.import(file);
      return { nothing, refused, kept, then: await top_(), again: (await session.teach.export()).length === file.length };
    }""")
    assert found == {"nothing": None, "refused": "backup_invalid", "kept": "sea/0", "then": "money/1", "again": True}


def test_a_python_worker_that_died_or_was_stopped_is_started_again_with_what_was_learned(taught):
    found = taught.evaluate("""async () => {
      await mark("money", 1);
      workers.filter(([url]) => url.endsWith("python.js")).forEach(([, worker]) => worker.terminate());
      const told = await caught(() => mark("sea", 0));
      await mark("sea", 0);
      await session.teach.stop();
      const stopped = (await loader.status()).python, held = await top_();
      const { marks } = await mark("pets", 0, false);
      return { told: told.code ?? "worker_died", stopped, held: held !== await top_(false), rows: marks.map((m) => `${m.id}/${m.row}`) };
    }""")
    assert found["told"] == "worker_died"
    assert found["stopped"] is False and found["held"] is True
    assert "money/1" in found["rows"] and "pets/0" in found["rows"]


def test_two_tabs_learn_on_top_of_each_others_marks(taught, context):
    other = opened(context.new_page(), taught.url)
    taught.evaluate("mark('money', 1)")
    other.evaluate("mark('sea', 0, false)")
    third = taught.evaluate("mark('pets', 0, false)")
    assert [m["id"] for m in third["marks"]] == ["money", "sea", "pets"]


def test_deleted_documents_take_their_marks_with_them(taught):
    found = taught.evaluate("""async () => {
      await mark("money", 1); await mark("sea", 0, false);
      return { left: (await session.teach.forget(["money"])).marks.map((m) => m.id), none: (await session.teach.forget(["nobody"])).marks.length };
    }""")
    assert found == {"left": ["sea"], "none": 1}


def test_where_python_cannot_start_the_error_is_named_and_search_goes_on(page, site):
    page.context.route("**/vendor/pyodide/pyodide.asm.wasm", lambda route: route.abort())
    opened(page, site())
    failed = page.evaluate("caught(() => mark('money', 1))")
    assert failed["code"] == "python_boot_failed"
    assert page.evaluate("top_()").startswith("pets")
    page.context.unroute("**/vendor/pyodide/pyodide.asm.wasm")
    assert page.evaluate("mark('money', 1)")["report"]["afterRank"] == 1


def test_without_its_snapshot_python_starts_the_slow_way_and_says_so(page, site):
    page.context.route("**/snapshot.bin.gz", lambda route: route.fulfill(status=404))
    opened(page, site())
    assert page.evaluate("mark('money', 1)")["report"]["afterRank"] == 1
    assert "no_python_snapshot" in page.evaluate("said.map((s) => s.code)")


def test_code_of_a_page_is_run_only_where_tests_asked_for_it(taught):
    assert taught.evaluate("caught(() => loader.ask('python.run', { code: '1' }))")["code"] == "not_supported"


# --- the browser host, from inside Pyodide ----------------------------------------------------------------------------


@pytest.fixture
def python(page, site):
    """A function that runs Python code in the worker; `result` as JSON, `files` by name beside it."""
    blank(page, site())
    page.evaluate(PRELUDE)

    def run(code, **files):
        answer = page.evaluate(
            """async ([code, files]) => {
          const loader = make({ testing: { runCode: true } }), bytes = {};
          for (const [path, text] of Object.entries(files)) bytes[path] = new TextEncoder().encode(text);
          return caught(() => loader.ask("python.run", { code, files: bytes }));
        }""",
            [code, files],
        )
        assert "code" not in answer, answer["message"][-3000:]
        return json.loads(answer["result"])

    return run


def test_the_snapshot_gives_every_boot_its_own_randomness(python):
    code = "import json, random\njson.dumps(random.getrandbits(64))"
    assert python(code) != python(code)


def test_python_that_breaks_is_told_and_the_next_call_has_another(context, site):
    """A text nested without end overflows the stack on which Python itself runs: it answers nobody any more."""
    page = context.new_page()  # one whose errors are expected
    blank(page, site())
    page.evaluate(PRELUDE)
    found = page.evaluate("""async () => {
      const loader = make({ testing: { runCode: true } });
      const run = (code) => caught(() => loader.ask("python.run", { code }));
      return [(await run("import json; json.loads('[' * 100_000)")).code, (await run("1 + 1")).result];
    }""")
    assert found == ["worker_died", 2]


KERNELS = """
import json
import numpy as np
from edgenet.host.browser import BrowserHttp
from edgenet.host.browser_engine import BrowserEngine
from edgenet.errors import KernelNotFound, PackError
from edgenet.kernels.cases import all_cases
from edgenet.kernels.health import close
from edgenet.kernels.ops import KERNELS

engine = BrowserEngine(await BrowserHttp().get(URL))
worst, count = [], 0
for case in all_cases():
    row = KERNELS[case.kernel]
    code, want = row.reference(case.values)
    got_code, got = engine.call(case.kernel, **case.values)
    good = code == got_code and (code != 0 or all(close(got[n], want[n], row.tolerance) for n in want))
    worst += [] if good else [f"{case.kernel}: {case.reason}"]
    count += 1
try:
    engine.call("nobody")
except KernelNotFound as error:
    missing = error.code
try:
    BrowserEngine(b"no module")
except PackError as error:
    refused = error.code
json.dumps([count, worst, missing, refused])
"""


@pytest.mark.parametrize("build", ["engine.relaxed.wasm", "engine.simd.wasm"])
def test_the_engine_module_called_from_python_agrees_with_the_references(python, page, build):
    url = page.evaluate("(name) => new URL('kernels/' + name, document.baseURI).href", build)
    count, worst, missing, refused = python(f"URL = {url!r}\n" + KERNELS)
    assert count > 50 and worst == []
    assert (missing, refused) == ("kernel_not_found", "pack_invalid")


HOST = """
import json
from edgenet.errors import HttpStatusError
from edgenet.host.browser import BrowserHost, BrowserHttp
host = BrowserHost()
vectors = json.load(open("/ed25519.json"))
rows = vectors["rfc8032"] + vectors["refused"]
said = [await host.verify_ed25519(bytes.fromhex(r["publicKey"]), bytes.fromhex(r["signature"]), bytes.fromhex(r["message"])) for r in rows]
async with BrowserHttp().open(URL + "embed.html", (2, 9)) as answer:
    part = b"".join([block async for block in answer.blocks])
try:
    await BrowserHttp().get(URL + "nobody")
except HttpStatusError as error:
    status = error.details["status"]
json.dumps([said, part.decode(), status, len(set(host.random_bytes(70000))), abs(host.now() - NOW) < 3600])
"""


def test_the_browser_host_verifies_fetches_and_draws(python, page):
    vectors = json.loads((VECTORS / "ed25519.json").read_text())
    url = page.evaluate("new URL('./', document.baseURI).href")
    now = page.evaluate("Date.now() / 1000")
    said, part, status, distinct, clock = python(
        f"URL, NOW = {url!r}, {now}\n" + HOST, **{"/ed25519.json": (VECTORS / "ed25519.json").read_text()}
    )
    assert said == [True] * len(vectors["rfc8032"]) + [False] * len(vectors["refused"])
    assert (part, status, distinct, clock) == ("doctype", 404, 256, True)
