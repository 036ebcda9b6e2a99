"""MicroLoRA in Chromium against @ruvector/learning-wasm, in one page, sample by sample in turn: microseconds per call, and what is learned.

The peer cuts dim to 256 in silence: at 384 it computes two thirds of the width, and its zero-copy buffers are used at 256. CPython only.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import os
import tempfile
import threading
from pathlib import Path

from bench.browser import launched
from bench.common import LEAST_SAMPLES, claim, result

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "bench" / "peers" / "microlora"
PACKAGE = "@ruvector/learning-wasm"
TARGETS = {"forward": 3.0, "adapt": 3.0, "forward_zero_copy": 1.0, "scoped_forward": 1.0, "record": 1.0}
DIMS = (256, 384)
PEER_DIM = 256  # it computes no more, and answers no more
PEER_CUT = f"; the peer computes {PEER_DIM} of them"
TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm", ".html": "text/html"}
ISOLATED = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}  # a 5 us clock


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves a few folders under prefixes, isolated."""

    def __init__(self, folders: dict[str, Path], *args):
        self.folders = folders
        super().__init__(*args)

    def do_GET(self):  # noqa: N802 (the base class's name)
        path = self.path.partition("?")[0]
        prefix = next(p for p in self.folders if path.startswith(p))
        folder = self.folders[prefix].resolve()
        file = (folder / path.removeprefix(prefix)).resolve()
        found = file.is_file() and file.is_relative_to(folder)
        self.send_response(200 if found else 404)
        for name, value in {**ISOLATED, "Content-Type": TYPES.get(file.suffix, "application/octet-stream")}.items():
            self.send_header(name, value)
        self.end_headers()
        if found:
            self.wfile.write(file.read_bytes())

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def served(folders: dict[str, Path]):
    """The address of a server for `folders`, on this machine only."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, folders))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def peer_folder() -> Path | None:
    """Where the peer is installed; EDGENET_PEERS names another node_modules."""
    places = [os.environ.get("EDGENET_PEERS"), ROOT / "bench" / "peers" / "node_modules", ROOT / "node_modules"]
    return next((Path(p) / PACKAGE for p in places if p and (Path(p) / PACKAGE / "package.json").exists()), None)


def measure(peer: Path, quick: bool) -> dict:
    """Samples per dim and claim, held-out errors, browser version, from one page."""
    from playwright.sync_api import sync_playwright

    from tools.steps.wasm import build

    # Samples long enough that each holds its share of the garbage collection that its own results cause.
    samples, ms, seeds = (3 * LEAST_SAMPLES, 12, 1) if quick else (41, 24, 5)
    with tempfile.TemporaryDirectory() as temp, sync_playwright() as play:
        build(Path(temp))
        folders = {
            "/ours/": ROOT / "web" / "engine",
            "/sdk/": ROOT / "web" / "sdk",
            "/trust/": ROOT / "web" / "trust",
            "/kernels/": Path(temp),
            "/peer/": peer,
            "/": PAGE,
        }
        with served(folders) as address:
            browser = launched(play)
            page = browser.new_page()
            page.goto(f"{address}/page.html?module=engine.relaxed.wasm")
            page.wait_for_function("window.ready", timeout=60_000)
            out = {
                "times": {d: page.evaluate("([d, n, ms]) => window.bench(d, n, ms)", [d, samples, ms]) for d in DIMS}
            }
            out["held_out"] = [page.evaluate("(seed) => window.heldOut(seed)", seed) for seed in range(1, seeds + 1)]
            out["browser"] = f"Chromium {browser.version}"
            browser.close()
    return out


def claims_of(out: dict | None, version: str) -> list[dict]:
    """The claims, with empty samples when nothing was measured."""
    made = []
    for name, target in TARGETS.items():
        for d in DIMS:
            times = out["times"][d][name] if out else {"ours": [], "peer": []}
            full = f"microlora.{name}" + ("" if d == DIMS[0] else f".{d}")
            config = f"dim {d}, same page, as published" + PEER_CUT * (d > PEER_DIM)
            made.append(claim(full, "us/call", "lower", times["ours"], PACKAGE, version, config, times["peer"], target))
    held = out["held_out"] if out else []
    ours, theirs = ([h[side] for h in held] for side in ("ours", "peer"))
    config = "best of 3 settings and both signs"
    return [*made, claim("microlora.held_out", "error left", "lower", ours, PACKAGE, version, config, theirs, 1e6)]


def run(quick: bool = False) -> dict:
    """Measure; answers `{"claims": […], "machine": …}`. Without the peer nothing is measured and the claims say so."""
    peer = peer_folder()
    version = json.loads((peer / "package.json").read_text())["version"] if peer else "0.1.29"
    out = measure(peer, quick) if peer else None
    return result(claims_of(out, version), browser=out["browser"] if out else None)
