"""The service worker on a plain static host: isolation, the shell, updates, model URLs."""

import pytest

from tests.browser.conftest import Loader
from tests.browser.fakemodel import CHUNK
from tests.browser.test_loader import pulled

pytestmark = pytest.mark.browser
SIZE = 2 << 20


def opened(page, small):
    """A page whose service worker controls it and whose one reload, if any, is over."""
    page.goto(small.server.url + "/")
    page.wait_for_function("window.app?.started && !app.started.reloading")
    return page


def test_a_plain_host_is_isolated_after_exactly_one_reload(page, small):
    opened(page, small)
    assert page.evaluate("[app.isolated, app.loads, app.started.notice]") == [True, 2, None]
    page.reload()
    page.wait_for_function("app.started")
    assert page.evaluate("app.isolated") is True


def test_where_isolation_cannot_be_had_the_page_reloads_no_second_time(page, small):
    small.server.fault("/service-worker.js", "status", 404)
    opened(page, small)
    assert page.evaluate("[app.isolated, app.loads]") == [False, 1]
    assert page.evaluate("app.started.notice.code") == "service_worker_refused"


def test_the_embed_frame_isolates_itself(page, small):
    opened(page, small)
    headers = page.goto(small.server.url + "/embed.html").headers
    assert headers["document-isolation-policy"] == "isolate-and-require-corp"
    assert headers["cross-origin-resource-policy"] == "cross-origin"
    assert "cross-origin-opener-policy" not in headers
    assert page.evaluate("crossOriginIsolated") is True


def test_a_shell_with_one_wrong_file_never_becomes_active(page, small):
    opened(page, small)
    small.deploy("two", damage="version.txt")
    page.evaluate("""async () => {
      const registration = await navigator.serviceWorker.ready;
      await registration.update();
      const worker = registration.installing;
      if (worker) await new Promise((done) => worker.addEventListener("statechange", done));
    }""")
    assert page.evaluate("navigator.serviceWorker.ready.then((r) => [r.waiting, r.installing])") == [None, None]
    assert page.evaluate("app.text('version.txt')") == "one"
    page.reload()
    assert page.evaluate("app.text('version.txt')") == "one"


def test_a_new_version_waits_is_offered_and_leaves_other_tabs_on_theirs(page, small, context):
    opened(page, small)
    other = opened(context.new_page(), small)
    small.deploy("two")
    page.evaluate("app.checkForUpdate()")
    page.wait_for_function("Boolean(app.update)")
    assert page.evaluate("app.text('version.txt')") == "one"
    with page.expect_navigation():
        page.evaluate("app.update()")
    assert page.evaluate("app.text('version.txt')") == "two"
    assert other.evaluate("app.text('version.txt')") == "one"  # it may still load parts of its own build
    assert len(page.evaluate("caches.keys()")) == 2
    other.close()
    page.reload()
    page.wait_for_function("caches.keys().then((names) => names.length === 1)")


def test_an_update_copies_what_did_not_change(page, small):
    opened(page, small)
    small.server.log.clear()
    small.deploy("two")
    page.evaluate("app.checkForUpdate()")
    page.wait_for_function("Boolean(app.update)")
    assert [e.path for e in small.server.log if e.path in ("/version.txt", "/app.js", "/harness.js")] == [
        "/version.txt"
    ]


def test_an_update_during_a_download_does_not_disturb_it(page, small, context):
    manifest = small.add()
    path = small.path("fake")
    opened(page, small)
    gate = small.server.gate(path, SIZE // 2)
    loader = Loader(page, small.server.url + "/", download={"parallel": 1})
    loader.begin("pull", id="fake")
    assert gate.reached.wait(90)
    other = opened(context.new_page(), small)
    small.deploy("two")
    other.evaluate("app.checkForUpdate()")
    other.wait_for_function("Boolean(app.update)")
    with other.expect_navigation():
        other.evaluate("app.update()")
    gate.opened.set()
    assert "result" in loader.finished()
    pulled(loader, manifest)
    assert sum(entry.sent for entry in small.server.asked(path)) == SIZE


RANGES = [
    (None, 0, SIZE, "the whole file"),
    ("bytes=0-99", 0, 100, "the first bytes"),
    (f"bytes={CHUNK - 5}-{CHUNK + 4}", CHUNK - 5, CHUNK + 5, "across two chunks"),
    ("bytes=-7", SIZE - 7, SIZE, "the last bytes"),
]


@pytest.mark.parametrize("cached", [True, False], ids=["cached", "not cached"])
def test_a_model_url_is_answered_verified_with_and_without_range(page, small, cached):
    import hashlib

    small.add()
    data = small.server.files[small.path("fake")]
    opened(page, small)
    if cached:
        Loader(page, small.server.url + "/").ok("pull", id="fake")
    small.server.log.clear()
    for header, first, end, why in RANGES:
        answer = page.evaluate(
            "([p, h]) => app.get(p, h)", [small.path("fake")[1:], {"Range": header} if header else {}]
        )
        assert answer["sha256"] == hashlib.sha256(data[first:end]).hexdigest(), why
        assert answer["status"] == (206 if header else 200)
        assert answer["headers"]["Content-Range"] == (f"bytes {first}-{end - 1}/{SIZE}" if header else None)
    sent = sum(entry.sent for entry in small.server.asked(small.path("fake")))
    assert sent == 0 if cached else sent >= SIZE
    assert page.evaluate("(p) => app.get(p, {Range: 'bytes=9999999-'})", small.path("fake")[1:])["status"] == 416


def test_on_a_miss_only_the_chunks_asked_for_are_fetched_and_a_wrong_one_comes_from_the_next_source(page, small):
    small.add()
    path = small.path("fake")
    small.server.fault(path, "flip", 3 * CHUNK)
    opened(page, small)
    answer = page.evaluate(f"app.get({path[1:]!r}, {{Range: 'bytes={3 * CHUNK}-{3 * CHUNK + 9}'}})")
    assert answer["status"] == 206 and answer["length"] == 10
    ranges = [entry.range for entry in small.server.asked(path) + small.mirror.asked(small.mirror_path("fake"))]
    assert ranges == [(3 * CHUNK, 4 * CHUNK - 1)] * 2


def test_bytes_that_cannot_be_verified_are_an_error_not_an_answer(page, small):
    small.add()
    for server, path in ((small.server, small.path("fake")), (small.mirror, small.mirror_path("fake"))):
        server.fault(path, "flip", 0)
    opened(page, small)
    assert page.evaluate(f"app.get({small.path('fake')[1:]!r})")["status"] == 502
