"""A small site on disk, a server for it that can be told to misbehave, and the CLI as a function. For the CLI's tests."""

import json
import random
import socket
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from typer.testing import CliRunner

from edgenet.cli.app import app
from edgenet.cli.shell import Shell

MIB = 1 << 20
MODEL_SIZE = 5 * MIB + 1234


@dataclass
class Faults:
    """What the server does wrong, by the end of a path; `requests` are (path, Range header) in order."""

    flip: dict[str, int] = field(default_factory=dict)  # offset of a byte that is served wrong
    cut: dict[str, list[int]] = field(
        default_factory=dict
    )  # one entry per answer: bytes after which the connection ends
    status: dict[str, list[int]] = field(default_factory=dict)  # one entry per answer: status instead of the file
    headers: dict[str, dict[str, str]] = field(default_factory=dict)  # sent with the answer, or with the redirect
    redirect: dict[str, str] = field(default_factory=dict)  # to this path
    no_range: bool = False
    silent: threading.Event | None = None  # answers nothing until set
    requests: list[tuple[str, str | None]] = field(default_factory=list)

    def of(self, table: dict, path: str):
        """The row whose key the path ends with, or None."""
        return next((row for end, row in table.items() if path.endswith(end)), None)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    root: Path
    faults: Faults
    cids: dict[str, Path]

    def do_GET(self):  # noqa: N802  (the base class's name)
        faults, wanted = self.faults, self.headers.get("Range")
        faults.requests.append((self.path, wanted))
        if faults.silent:
            faults.silent.wait(30)
        path = self.cids.get(self.path.rsplit("/", 1)[-1], self.root / self.path.lstrip("/"))
        if moved := faults.of(faults.redirect, self.path):
            return self._empty(302, {"Location": moved})
        statuses = faults.of(faults.status, self.path)
        if statuses or not path.is_file():
            return self._empty(statuses.pop(0) if statuses else 404)
        data = bytearray(path.read_bytes())
        if (at := faults.of(faults.flip, self.path)) is not None:
            data[at] ^= 1
        self._body(bytes(data), None if faults.no_range else wanted)

    def _body(self, data: bytes, wanted: str | None):
        start, stop = 0, len(data)
        if wanted:
            first, last = wanted.removeprefix("bytes=").split("-")
            start, stop = int(first), min(int(last) + 1, len(data))
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
        self.send_header("Content-Length", str(stop - start))
        self._end_headers({})
        cuts = self.faults.of(self.faults.cut, self.path)
        body = data[start:stop][: cuts.pop(0) if cuts else None]
        try:
            self.wfile.write(body)
        except OSError:
            return self._hang_up()
        if len(body) < stop - start:
            self._hang_up()

    def _empty(self, status: int, more: dict[str, str] | None = None):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self._end_headers(more or {})

    def _end_headers(self, more: dict[str, str]):
        for name, value in (more | (self.faults.of(self.faults.headers, self.path) or {})).items():
            self.send_header(name, value)
        self.end_headers()

    def _hang_up(self):
        self.close_connection = True
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the reader left first

    def log_message(self, *args):
        pass


class Server:
    """Serves a folder, and files by CID under /ipfs/, in a thread; a context manager."""

    def __init__(self, root: Path, cids: dict[str, Path] | None = None):
        self.faults = Faults()
        handler = type("Handler", (_Handler,), {"root": root, "faults": self.faults, "cids": cids or {}})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc):
        if self.faults.silent:
            self.faults.silent.set()
        self._server.shutdown()
        self._server.server_close()


@dataclass
class Ran:
    """One run of the CLI."""

    code: int
    out: str
    err: str

    @property
    def data(self):
        """stdout as the one JSON document that --json promises."""
        return json.loads(self.out)


class Cli:
    """`cli("pull", "tiny")` runs the CLI in this process, with a home folder of its own."""

    def __init__(self, home: Path, site: str | None = None):
        self.home, self.site, self.disk = home, site, None
        self.config = home / "models.yaml"
        home.mkdir(parents=True, exist_ok=True)
        self.config.write_text(f"cache:\n  directory: {home / 'cache'}\nsigning:\n  keyPath: {home / 'key.pem'}\n")

    def __call__(self, *args: str, site: str | None = None, stdin: bytes | None = None) -> Ran:
        where = ["--site", site or self.site] if site or self.site else []
        shell = Shell(disk=self.disk) if self.disk else None
        result = CliRunner().invoke(app, ["--config", str(self.config), *where, *args], obj=shell, input=stdin)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ran(result.exit_code, result.stdout, result.stderr)

    @property
    def cache(self) -> Path:
        """The cache's format folder."""
        return self.home / "cache" / "v1"


def model_bytes(seed: int = 1, size: int = MODEL_SIZE) -> bytes:
    """Bytes that stand for a model's weights: the same for a seed, no two chunks alike."""
    return random.Random(seed).randbytes(size)


def publish(cli: Cli, folder: Path, name: str = "tiny", version: str = "1.0.0", *more: str, seed: int = 1) -> Ran:
    """Publish a model of two files to `folder` with the CLI's own key, which is made if it is not there."""
    files = folder.parent / f"{name}-{version}-files"
    files.mkdir(parents=True, exist_ok=True)
    (files / "model.onnx").write_bytes(model_bytes(seed))
    (files / "tokenizer.json").write_text('{"model": {"vocab": {}}}')
    if not (cli.home / "key.pem").exists():
        assert cli("keys", "generate").code == 0
    ran = cli(
        "publish",
        str(files),
        "--name",
        name,
        "--version",
        version,
        "--quantization",
        "INT8",
        "--output",
        str(folder),
        *more,
        "--json",
    )
    assert ran.code == 0, ran.err
    return ran
