"""Servers for embedding and policy tests: the site, or a page of somebody else's, with headers of the test's choosing."""

import threading
from contextlib import contextmanager
from http.server import ThreadingHTTPServer

from tools.serve import ISOLATION, Handler

STRICT = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'"


@contextmanager
def hosted(folder, headers=None, host="localhost", isolated=True, bind="127.0.0.1"):
    """The address of `folder`, with extra `headers` on every answer. `host` is the name in the address."""

    class WithHeaders(Handler):
        def end_headers(self):
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            super().end_headers()

    WithHeaders.isolated = isolated
    running = ThreadingHTTPServer((bind, 0), lambda *a, **k: WithHeaders(*a, directory=str(folder), **k))
    threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield f"http://{host}:{running.server_address[1]}/"
    finally:
        running.shutdown()
        running.server_close()


def blank(page, url, isolated=True):
    """Opens an empty page of the site at `url`: none of the app's own workers, no service worker."""
    sent = ISOLATION if isolated else {}
    body = "<!doctype html><html lang=en><meta charset=utf-8><title>blank</title><body></body></html>"
    page.route("**/blank.html", lambda route: route.fulfill(body=body, content_type="text/html", headers=sent))
    page.goto(url + "blank.html")
