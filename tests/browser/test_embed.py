"""EdgeNet on somebody else's page, by one script tag from another site."""

import re
from pathlib import Path

import pytest

from tests.browser.hosting import hosted

pytestmark = pytest.mark.browser
ROOT = Path(__file__).resolve().parents[2]
PAGE = "<!doctype html><html lang=en><meta charset=utf-8><title>a shop</title><body></body></html>"

ADD = """(src) => new Promise((ready, refused) => {
  const script = document.createElement("script");
  Object.assign(script, { src, onload: () => ready(), onerror: () => refused(new Error("script refused")) });
  document.head.append(script);
})"""
USE = """async (options) => {
  const said = [], loader = (window.loader = new edgenet.ModelLoader(options));
  loader.addEventListener("fallback", ({ detail }) => said.push(detail.code));
  try {
    const events = [], session = await loader.load("minilm-l6-v2-q8", { onProgress: (e) => events.push(e) });
    const [a, b] = await session.embedBatch(["a cat", "a bank"]);
    await session.index.put("x", [a, b]);
    const { results } = await session.index.search({ text: "kitten", k: 1 });
    const { isolated, frame, threads } = await loader.status();
    return { row: results[0].row, isolated, frame, threads, said, own: crossOriginIsolated, last: events.at(-1), cached: (await loader.getCachedModels()).length };
  } catch ({ code, message }) {
    return { code, message, frames: document.querySelectorAll("iframe").length };
  }
}"""


@pytest.fixture
def shop(tmp_path):
    (tmp_path / "index.html").write_text(PAGE)
    return tmp_path


@pytest.fixture
def engine(dist):
    """EdgeNet's own site, at another host name than the page's."""
    with hosted(dist, host="127.0.0.1") as url:
        yield url


def policy(origin):
    return {"Content-Security-Policy": f"default-src 'self'; script-src 'self' {origin}; frame-src {origin}"}


HOSTS = [
    ("a plain page", lambda origin: {}, False),
    ("an isolated page", lambda origin: {}, True),
    ("a strict policy that names the frame", policy, False),
]


@pytest.mark.parametrize(("why", "headers", "isolated"), HOSTS, ids=[row[0] for row in HOSTS])
def test_a_page_of_another_origin_gets_the_same_isolated_engine(page, shop, engine, why, headers, isolated):
    with hosted(shop, headers(engine.rstrip("/")), isolated=isolated) as url:
        page.goto(url)
        page.evaluate(ADD, engine + "edgenet.global.js")
        found = page.evaluate(USE, {})
    assert "code" not in found, found
    assert (found["row"], found["isolated"], found["frame"], found["said"]) == (0, True, True, [])
    assert found["own"] is isolated, "the page itself is as it was"
    assert found["last"]["status"] == "ready" and found["cached"] == 1


def test_teaching_works_and_is_kept_in_the_pages_own_storage(page, shop, engine):
    with hosted(shop, isolated=False) as url:
        page.goto(url)
        page.evaluate(ADD, engine + "edgenet.global.js")
        page.evaluate(USE, {})
        marks = page.evaluate("""async () => {
          const session = await loader.load("minilm-l6-v2-q8");
          await session.index.put("x", await session.embedBatch(["a cat", "a bank"]));
          return (await session.teach.mark({ query: "kitten", id: "x", row: 1, relevant: true })).marks.length;
        }""")
        databases = page.evaluate("async () => (await indexedDB.databases()).map((d) => d.name)")
    assert marks == 1 and databases == ["edgenet-teach-v1"]


def test_a_policy_without_the_frame_is_a_named_error_that_says_what_to_allow(page, shop, engine):
    origin = engine.rstrip("/")
    with hosted(
        shop, {"Content-Security-Policy": f"default-src 'self'; script-src 'self' {origin}"}, isolated=False
    ) as url:
        page.goto(url)
        page.evaluate(ADD, engine + "edgenet.global.js")
        found = page.evaluate(USE, {})
    assert found["code"] == "frame_refused" and f"frame-src {origin}" in found["message"]
    assert found["frames"] == 0, "nothing is left behind"


def test_a_browser_that_does_not_isolate_frames_gets_one_thread_and_is_told(page, shop, engine):
    with hosted(shop, isolated=False) as url:
        page.context.route("**/embed.html", lambda route: without(route, "document-isolation-policy"))
        page.goto(url)
        page.evaluate(ADD, engine + "edgenet.global.js")
        found = page.evaluate(USE, {"threads": 2})
    assert "code" not in found, found
    assert (found["row"], found["isolated"], found["threads"]) == (0, False, 1)
    assert sorted(found["said"]) == ["not_isolated", "threads_one"]


def without(route, *names):
    answer = route.fetch()
    route.fulfill(response=answer, headers={k: v for k, v in answer.headers.items() if k.lower() not in names})


def test_a_frame_that_names_its_embedders_serves_nobody_else(page, shop, engine):
    def closed(route):
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.text().replace('content="*"', 'content="https://friend.example"'))

    page.context.route("**/embed.html", closed)
    with hosted(shop, isolated=False) as url:
        page.goto(url)
        page.evaluate(ADD, engine + "edgenet.global.js")
        found = page.evaluate(USE, {})
    assert found["code"] == "frame_refused", found


def test_a_page_cannot_choose_whom_the_frame_trusts(page, shop, engine):
    with hosted(shop, isolated=False) as url:
        page.goto(url)
        page.evaluate(ADD, engine + "edgenet.global.js")
        found = page.evaluate(USE, {"urls": {"trust": "https://evil.example/trust.json"}})
    assert found["code"] == "invalid_option", found


def test_a_stranger_window_cannot_speak_to_the_frame_or_for_it(page, shop, engine):
    """The page ignores a greeting that another frame sends, and goes on waiting for the right one."""
    with hosted(shop, isolated=False) as url:
        page.goto(url)
        page.evaluate(ADD, engine + "edgenet.global.js")
        page.evaluate("""() => {
          const liar = document.createElement("iframe");
          liar.srcdoc = "<script>setInterval(() => parent.postMessage({ type: 'edgenet-frame-hello' }, '*'), 5); addEventListener('message', () => parent.postMessage('got a port', '*'));</" + "script>";
          addEventListener("message", ({ data }) => { if (data === "got a port") window.stolen = true; });
          document.body.append(liar);
        }""")
        found = page.evaluate(USE, {})
        assert found["row"] == 0
        assert page.evaluate("window.stolen") is None


def test_dispose_takes_the_frame_away(page, shop, engine):
    with hosted(shop, isolated=False) as url:
        page.goto(url)
        page.evaluate(ADD, engine + "edgenet.global.js")
        page.evaluate(USE, {})
        page.evaluate("loader.dispose()")
        page.wait_for_function("document.querySelectorAll('iframe').length === 0")


def test_the_script_tag_of_the_docs_runs_as_printed(page, shop, engine):
    snippets = re.findall(r"```html\n(.*?)```", (ROOT / "docs" / "embedding.md").read_text(), re.S)
    assert snippets, "docs/embedding.md shows no page"
    for snippet in snippets:
        (shop / "index.html").write_text(
            PAGE.replace("</body>", snippet.replace("https://models.example/", engine) + "</body>")
        )
        with (
            hosted(shop, isolated=False) as url,
            page.expect_console_message(lambda m: re.fullmatch(r"0\.\d{5,}", m.text)) as printed,
        ):
            page.goto(url)
        assert float(printed.value.text) > 0.5
