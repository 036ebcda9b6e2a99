"""`bench cache`: download + verify + store against plain fetch into the same store; cached load against plain reading.

Both sides run in workers of one page of one Chromium with a profile on disk, fed by the same local server.
"""

import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path

from bench.common import browser_path, claim
from playwright.sync_api import sync_playwright

from tools.node import esbuild
from tools.paths import DIST, ROOT
from tools.serve import server

MODEL = "minilm-l6-v2-q8"
PAGE = '<!doctype html><meta charset="utf-8"><script type="module" src="bench/cache.js"></script>'
BUNDLES = {
    "web/loader/worker.js": "workers/loader.js",
    "bench/pages/cache.js": "bench/cache.js",
    "bench/pages/cache-worker.js": "bench/cache-worker.js",
}
ARGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]


def run(quick=False):
    """{"claims": [cache.download, cache.load]}: throughput in MB/s, samples interleaved."""
    rounds = 9 if quick else 21
    with tempfile.TemporaryDirectory() as work, served(Path(work)) as url, page(url, Path(work) / "profile") as tab:
        tab.evaluate("(id) => { bench.id = id; }", MODEL)
        files = tab.evaluate("bench.start()")
        total = sum(f["size"] for f in files)
        download = interleaved(rounds, total, lambda: tab.evaluate("bench.pull()"), lambda: tab.evaluate("bench.plainPull()"))
        largest = max(files, key=lambda f: f["size"])
        load = interleaved(
            4 * rounds,
            largest["size"],
            lambda: tab.evaluate("(r) => bench.load(r)", largest["root"])["ms"],
            lambda: tab.evaluate("([n, s]) => bench.plainLoad(n, s)", [largest["name"], largest["size"]])["ms"],
        )
        version = tab.evaluate("navigator.userAgent").split("Chrome/")[-1].split()[0]
    return {
        "claims": [
            claim("cache.download", "MB/s", "higher", download[0], "fetch + OPFS", version, config(total, "one stream, one flush"), download[1]),
            claim("cache.load", "MB/s", "higher", load[0], "OPFS sync access handle", version, config(largest["size"], "one read"), load[1]),
        ]
    }


def config(size, how):
    return f"{size} bytes, {how}, Chromium, profile on disk"


def interleaved(rounds, size, ours, theirs):
    """([MB/s of ours], [MB/s of theirs]); one unmeasured round first."""
    samples = ([], [])
    for n in range(rounds + 1):
        for side, measure in ((0, ours), (1, theirs)) if n % 2 else ((1, theirs), (0, ours)):
            ms = measure()
            if n:
                samples[side].append(size / 1e3 / ms)
    return samples


@contextmanager
def served(work):
    """The built site with the bench's page laid over it."""
    site = work / "site"
    (site / "bench").mkdir(parents=True)
    for entry in DIST.iterdir():
        if entry.name != "workers":
            (site / entry.name).symlink_to(entry)
    (site / "bench.html").write_text(PAGE)
    for source, target in BUNDLES.items():
        esbuild(ROOT / source, "--bundle", "--minify", "--format=esm", "--log-level=warning", f"--outfile={site / target}")
    http = server(site)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    try:
        yield f"http://localhost:{http.server_address[1]}/bench.html"
    finally:
        http.shutdown()
        http.server_close()


@contextmanager
def page(url, profile):
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(profile, executable_path=browser_path(), args=ARGS)
        tab = context.new_page()
        tab.set_default_timeout(120_000)
        tab.goto(url)
        tab.wait_for_function("window.bench !== undefined")
        yield tab
        context.close()
