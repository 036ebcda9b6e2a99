"""After one visit, everything starts again with no network at all: the servers are gone, the browser was restarted."""

import pytest

from tests.browser.conftest import Loader
from tests.browser.test_loader import pulled
from tests.browser.test_serviceworker import opened

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
