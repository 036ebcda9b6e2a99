"""A web server that misbehaves on request: per path, a table of faults; everything it was asked is in its log.

A gate stops an answer after so many bytes until the test opens it, so that tests need no sleeps.
"""

import gzip
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tools.serve import FRAME, ISOLATION, TYPES, parse_range

BLOCK = 16 << 10


@dataclass
class Fault:
    """What goes wrong with a path. `times`: for how many requests; None: for all."""

    kind: str
    value: object = None
    times: int | None = None


@dataclass
class Gate:
    """Answers for a path stop once `after` bytes of it were sent in all."""

    after: int
    reached: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)


@dataclass
class Entry:
    """One request: its path, its Range header as (first, last), what was answered and how many bytes left."""

    path: str
    range: tuple[int, int] | None
    status: int = 0
    sent: int = 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        state = self.server
        path = self.path.split("?")[0]
        faults = {f.kind: f for f in state.take_faults(path)}
        body = state.content(path)
        wanted = self.headers.get("Range")
        entry = Entry(path, parse_range(wanted, 1 << 60) if wanted else None)
        state.log.append(entry)
        if "status" in faults or body is None:
            return self.answer(entry, faults["status"].value if "status" in faults else 404, {}, b"", faults)
        if "redirect" in faults:
            return self.answer(entry, 302, {"Location": faults["redirect"].value}, b"", faults)
        for kind in ("resize", "flip"):
            if kind in faults:
                body = CHANGES[kind](body, faults[kind].value)
        self.answer(entry, *self.select(body, wanted, faults), faults)

    do_HEAD = do_GET  # noqa: N815  (the base class names it so)

    def select(self, body, wanted, faults):
        """(status, headers, bytes) for the range that was asked, or for what the fault makes of it."""
        span = None if "ignore_range" in faults or not wanted else parse_range(wanted, len(body))
        encoding = {"Content-Encoding": "gzip"} if "gzip" in faults else {}
        if span is None:
            return 200, encoding, gzip.compress(body, 1) if encoding else body
        first, last = span
        shift = faults["wrong_range"].value if "wrong_range" in faults else 0
        header = {"Content-Range": f"bytes {first + shift}-{last + shift}/{len(body)}"}
        part = body[first : last + 1]
        return 206, header | encoding, gzip.compress(part, 1) if encoding else part

    def answer(self, entry, status, headers, body, faults):
        entry.status = status
        self.send_response(status)
        for name, value in {**self.server.headers_for(entry.path), **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        limit = faults["cut"].value if "cut" in faults else len(body)
        try:
            self.stream(entry, memoryview(body)[:limit], faults["slow"].value if "slow" in faults else 0)
        except (ConnectionError, TimeoutError):
            self.close_connection = True
        if limit < len(body):
            self.close_connection = True

    def stream(self, entry, body, pause):
        for start in range(0, len(body), BLOCK):
            self.server.wait_at_gate(entry.path)
            block = body[start : start + BLOCK]
            self.wfile.write(block)
            time.sleep(pause)  # "slow": seconds after each block
            entry.sent += len(block)
            self.server.count(entry.path, len(block))

    def log_message(self, *args):
        pass


def flip(body, offset):
    changed = bytearray(body)
    for at in [offset] if isinstance(offset, int) else offset:
        changed[at] ^= 0x01
    return bytes(changed)


CHANGES = {"flip": flip, "resize": lambda body, size: body[:size].ljust(size, b"\0")}


class FaultServer(ThreadingHTTPServer):
    """`files`: path → bytes, before what lies in `folder`. `isolated`: sends COOP and COEP as `serve` does."""

    daemon_threads = True

    def __init__(self, folder=None, isolated=True, cors=False):
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder, self.isolated, self.cors = folder and Path(folder), isolated, cors
        self.files, self.faults, self.gates, self.log = {}, {}, {}, []
        self.sent, self.lock = {}, threading.Lock()

    @property
    def url(self):
        return f"http://localhost:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        pass  # a browser that was killed

    def content(self, path):
        if path in self.files:
            return self.files[path]
        file = self.folder / path.lstrip("/") if self.folder else None
        if file and file.is_dir():
            file = file / "index.html"
        return file.read_bytes() if file and file.is_file() else None

    def headers_for(self, path):
        page = "text/html; charset=utf-8" if path.endswith(("/", ".html")) else "text/plain"
        kind = TYPES.get(Path(path).suffix, page)
        headers = {"Content-Type": kind, "Cache-Control": "no-cache"}
        if self.cors:
            headers |= {"Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin"}
        if self.isolated:
            headers |= FRAME if path.endswith("/embed.html") else ISOLATION
        return headers

    # --- faults, as tests set them
    def fault(self, path, kind, value=None, times=None):
        self.faults.setdefault(path, []).append(Fault(kind, value, times))

    def take_faults(self, path):
        with self.lock:
            active = [f for f in self.faults.get(path, []) if f.times is None or f.times > 0]
            for f in active:
                if f.times is not None:
                    f.times -= 1
            return active

    def gate(self, path, after):
        """Counted from now on."""
        with self.lock:
            self.sent[path] = 0
            self.gates[path] = Gate(after)
            return self.gates[path]

    def wait_at_gate(self, path):
        gate = self.gates.get(path)
        if gate and self.sent.get(path, 0) >= gate.after:
            gate.reached.set()
            gate.opened.wait(600)

    def count(self, path, length):
        with self.lock:
            self.sent[path] = self.sent.get(path, 0) + length

    def asked(self, path):
        """Log entries of a path."""
        return [entry for entry in self.log if entry.path == path]

    def reset(self):
        for gate in self.gates.values():
            gate.opened.set()
        self.faults, self.gates, self.log, self.sent = {}, {}, [], {}


@contextmanager
def running(server):
    """Serves in a thread while the block runs."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.reset()
        server.shutdown()
        server.server_close()
