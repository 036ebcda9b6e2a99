"""After one visit, everything starts again with no network at all: the servers are gone, the browser was restarted."""

import threading

import pytest

from tests.browser.conftest import Loader
from tests.browser.test_loader import pulled
from tests.browser.test_serviceworker import opened
from tests.browser.waiting import SLOW
from tools.serve import server as static_server

pytestmark = pytest.mark.browser


def test_a_restarted_browser_starts_the_page_and_the_model_with_the_servers_gone(persistent_context, small):
    manifest = small.add()
    first = persistent_context()
    page = opened(first.new_page(), small)
    Loader(page, small.server.url + "/").ok("pull", id="fake")
    first.close()
    small.server.shutdown()
    small.server.server_close()
    page = persistent_context().new_page()
    loader = Loader(page, small.server.url + "/")
    assert page.evaluate("crossOriginIsolated") is True
    assert loader.ok("isCached", id="fake") is True
    assert loader.ok("pull", id="fake")["state"] == "signed"
    pulled(loader, manifest)
    assert page.evaluate("app.text('version.txt')") == "one"
    assert page.evaluate(f"app.get({small.path('fake', 'tokenizer.json')[1:]!r})")["status"] == 200
    assert loader.fails("pull", id="nothing")["code"] in ("model_not_found", "offline", "network")


def test_without_any_store_in_the_way_a_private_window_still_works_online(page, small):
    small.add()
    loader = Loader(opened(page, small), small.server.url + "/")
    loader.ok("pull", id="fake")
    assert loader.ok("usage")["persisted"] is False


def test_the_built_site_on_a_plain_host_is_isolated_and_starts_with_its_server_gone(chromium, dist):
    page = chromium.new_context(bypass_csp=True).new_page()  # the site's CSP forbids what wait_for_function does
    page.set_default_timeout(SLOW)
    server = static_server(dist, isolated=False)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    page.goto(f"http://localhost:{server.server_address[1]}/")
    page.wait_for_function("crossOriginIsolated && navigator.serviceWorker.controller")
    title = page.title()
    server.shutdown()
    server.server_close()
    page.reload()
    assert page.evaluate("crossOriginIsolated") is True
    assert page.title() == title
    kept = "caches.match('workers/loader.js').then((answer) => answer.status)"
    assert page.evaluate(kept) == 200
    page.context.close()
