"""`bench cache`: download + verify + store against plain fetch into the same store; cached load against plain reading.

Both sides run in workers of one page of one Chromium with a profile on disk, fed by the same local server.
"""

import tempfile
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import sync_playwright

from bench.browser import page_at, profile, served
from bench.common import claim, interleave, result
from tools.node import esbuild
from tools.paths import DIST, ROOT

MODEL = "minilm-l6-v2-q8"
PAGE = '<!doctype html><meta charset="utf-8"><script type="module" src="bench/cache.js"></script>'
BUNDLES = {
    "web/loader/worker.js": "workers/loader.js",
    "bench/pages/cache.js": "bench/cache.js",
    "bench/pages/cache-worker.js": "bench/cache-worker.js",
}


def run(quick=False):
    """Claims cache.download and cache.load: throughput in MB/s, samples interleaved."""
    rounds = 9 if quick else 21
    with laid_out() as site, served(site) as base, sync_playwright() as playwright, profile(playwright) as context:
        tab = page_at(context, f"{base}bench.html")
        files = tab.evaluate("(id) => bench.start(id)", MODEL)
        total, largest = sum(f["size"] for f in files), max(files, key=lambda f: f["size"])
        download = measured(
            rounds, total, lambda: tab.evaluate("bench.pull()"), lambda: tab.evaluate("bench.plainPull()")
        )
        load = measured(
            4 * rounds,
            largest["size"],
            lambda: tab.evaluate("(file) => bench.load(file)", largest),
            lambda: tab.evaluate("(file) => bench.plainLoad(file)", largest),
        )
        version = tab.evaluate("navigator.userAgent").split("Chrome/")[-1].split()[0]
    plain = f"{total} bytes in {len(files)} files at once, streamed, one flush each, by Chromium, profile on disk"
    reading = f"{largest['size']} bytes, one read through a sync access handle, by Chromium, profile on disk"
    claims = [
        claim(
            "cache.download",
            "MB/s",
            "higher",
            download["ours"],
            "fetch into OPFS",
            version,
            plain,
            download["plain"],
            0.7,
        ),
        claim("cache.load", "MB/s", "higher", load["ours"], "plain OPFS reading", version, reading, load["plain"], 0.8),
    ]
    return result(claims, browser=f"Chromium {version}", model=MODEL)


def measured(rounds, size, ours, plain):
    """MB/s of both sides, from functions that answer milliseconds; one unmeasured round first."""
    sides = {"ours": ours, "plain": plain}
    interleave(sides, 1)
    taken = interleave(sides, rounds)
    return {name: [size / 1e3 / ms for ms in samples] for name, samples in taken.items()}


@contextmanager
def laid_out():
    """A folder of the built site with the bench's page laid over it."""
    with tempfile.TemporaryDirectory() as folder:
        lay_out(Path(folder))
        yield folder


def lay_out(site):
    (site / "bench").mkdir()
    for entry in DIST.iterdir():
        if entry.name != "workers":
            (site / entry.name).symlink_to(entry)
    (site / "bench.html").write_text(PAGE)
    options = ["--bundle", "--minify", "--format=esm", "--log-level=warning"]
    for source, target in BUNDLES.items():
        esbuild(ROOT / source, *options, f"--outfile={site / target}")
