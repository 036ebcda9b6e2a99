"""A small threaded static server: Range, HEAD, isolation headers. For people and for the browser tests."""

import re
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

ISOLATION = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "cross-origin",
}
FRAME = {
    "Document-Isolation-Policy": "isolate-and-require-corp",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "cross-origin",
}
TYPES = {
    ".mjs": "text/javascript",
    ".js": "text/javascript",
    ".wasm": "application/wasm",
    ".json": "application/json",
    ".onnx": "application/octet-stream",
    ".whl": "application/zip",
    ".webmanifest": "application/manifest+json",
}


def parse_range(header, size):
    """(first, last) of a single `bytes=` range within `size`; None when there is none (RFC 9110, 14.1.2).

    Raises ValueError when it cannot be met.
    """
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", header or "")
    if not match or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        first, last = max(0, size - int(last)), size - 1
    first, last = int(first), min(int(last) if last != "" else size - 1, size - 1)
    if first > last or first >= size:
        raise ValueError(f"{header} lies outside a file of {size} bytes")
    return first, last


class Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    extensions_map = {**SimpleHTTPRequestHandler.extensions_map, **TYPES}
    isolated = True
    quiet = True

    def end_headers(self):
        page = self.path.split("?")[0]
        for name, value in (FRAME if page.endswith("/embed.html") else ISOLATION if self.isolated else {}).items():
            self.send_header(name, value)
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def send_head(self):
        """As the base class, with one byte range."""
        wanted = self.headers.get("Range")
        file = super().send_head() if not wanted else self.ranged(wanted)
        return file

    def ranged(self, wanted):
        try:
            file = open(self.translate_path(self.path), "rb")
        except OSError:
            return self.send_error(HTTPStatus.NOT_FOUND)
        size = file.seek(0, 2)
        try:
            span = parse_range(wanted, size)
        except ValueError:
            file.close()
            return self.send_error(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
        first, last = span or (0, size - 1)
        file.seek(first)
        self.send_response(HTTPStatus.PARTIAL_CONTENT if span else HTTPStatus.OK)
        self.send_header("Content-Type", self.guess_type(self.path))
        if span:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        return Slice(file, last - first + 1)

    def copyfile(self, source, outputfile):
        try:
            while block := source.read(1 << 18):
                outputfile.write(block)
        except (ConnectionError, TimeoutError):
            self.close_connection = True  # the reader left: nothing to tell anybody

    def log_message(self, *args):
        if not self.quiet:
            super().log_message(*args)


class Slice:
    """The first `count` bytes of an open file."""

    def __init__(self, file, count):
        self.file, self.left = file, count

    def read(self, size):
        block = self.file.read(min(size, self.left))
        self.left -= len(block)
        return block

    def close(self):
        self.file.close()


def server(folder, port=0, isolated=True, host="127.0.0.1", quiet=True):
    """A server ready to `serve_forever()`; `port` 0 takes a free one."""
    handler = type("Handler", (Handler,), {"isolated": isolated, "quiet": quiet})
    return ThreadingHTTPServer((host, port), lambda *a, **k: handler(*a, directory=str(folder), **k))
