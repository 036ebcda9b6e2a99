"""Embedding in Chromium: our SDK against transformers.js, the same sentences of mixed length, 1 and 2 threads, in turns.

The peer is the fastest of its dtypes whose worst cosine (against float32 in CPython) is at least ours. Ours runs as a visitor runs it:
the built site, its signed manifest, every chunk verified, the model read from the browser's storage.
"""

import asyncio
import json
import random
import tempfile
from contextlib import contextmanager
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median

import numpy as np
from playwright.sync_api import sync_playwright

from bench.browser import profile, served
from bench.common import claim, interleave, result
from bench.peers.embed.prepare import FILES, prepare
from edgenet.host.onnx import OnnxModel
from edgenet.session import InferenceSession
from tools.paths import DIST, OUT, ROOT

MODEL = "minilm-l6-v2-q8"
PEER = "@huggingface/transformers"
SENTENCES = (ROOT / "tests/data/sentences.txt").read_text("utf-8").splitlines()


def run(quick: bool = False) -> dict:
    """embed.batch1, .batch32 (each also with 2 threads), .first_cold and .first_cached."""
    repeats = 5 if quick else 9
    judged = random.Random(1).sample(SENTENCES, 60) if quick else SENTENCES
    exact = float32_vectors(judged)
    with site_and_peer() as base, sync_playwright() as playwright:
        bench = Bench(playwright, base)
        peers, accuracy = bench.rivals(judged, exact)
        print("worst cosine over", len(judged), "sentences:", ", ".join(f"{k} {v:.5f}" for k, v in accuracy.items()))
        claims = []
        for measure in (partial(bench.speed, peers, 1), partial(bench.speed, peers, 2), partial(bench.first, peers)):
            for row in measure(repeats):
                print(f"  {row['name']}: {row['value']:.2f}x", flush=True)  # it is minutes until the table
                claims.append(row)
    return result(claims, worstCosine=accuracy)


def float32_vectors(texts):
    """f32 (n, 384) of the reference, by onnxruntime in CPython. Playwright's own event loop must not run yet."""
    session = InferenceSession(OnnxModel.from_folder(OUT / "models/minilm-l6-v2-fp32", 1))
    return asyncio.run(session.embed_batch(texts))


@contextmanager
def site_and_peer():
    """The address of one origin: `site/` is the built site, `peer/` the peer and both pages."""
    with tempfile.TemporaryDirectory() as root:
        (Path(root) / "site").symlink_to(DIST)
        (Path(root) / "peer").symlink_to(prepare())
        with served(root) as base:
            yield base


class Bench:
    """Pages of one Chromium. A side is `ours` or one of the peer's dtypes."""

    def __init__(self, playwright, base):
        self.playwright, self.base = playwright, base

    def open(self, context, side, threads):
        """(page, ms from navigation to the first vector)."""
        page = context.new_page()
        page.goto(f"{self.base}peer/{'ours' if side == 'ours' else 'peer'}.html")
        options = {"site": f"{self.base}site/", "model": MODEL, "dtype": side, "threads": threads}
        page.wait_for_function("window.bench")
        return page, page.evaluate("([o, t]) => window.bench.first(o, t)", [options, SENTENCES[0]])

    def rivals(self, judged, exact):
        """(dtypes that are at least as exact as ours, worst cosine of every side)."""
        worst = {}
        for side in ("ours", *FILES):
            with profile(self.playwright) as context:
                page, _ = self.open(context, side, 1)
                found = np.array(page.evaluate("t => window.bench.vectors(t)", judged))
                worst[side] = float((found * exact).sum(1).min())
        return [side for side in FILES if worst[side] >= worst["ours"]], worst

    def speed(self, peers, threads, repeats):
        """Sentences per second, one to a call and 32 to a call, every side once in each round."""
        texts = random.Random(32).sample(SENTENCES, 32)
        with profile(self.playwright) as context:
            pages = {side: self.open(context, side, threads)[0] for side in ("ours", *peers)}
            sides = {
                key: partial(self.sentences_per_second, pages[key[0]], texts, key[1]) for key in product(pages, (1, 32))
            }
            interleave(sides, 1)  # warm up
            samples = interleave(sides, repeats)
        suffix = "" if threads == 1 else f"_{threads}threads"
        for size in (1, 32):
            best = max(peers, key=lambda side: median(samples[side, size]))
            yield against(
                f"embed.batch{size}{suffix}",
                "sentences/s",
                "higher",
                samples["ours", size],
                samples[best, size],
                best,
                threads,
            )

    def sentences_per_second(self, page, texts, size):
        return len(texts) / page.evaluate("([t, n]) => window.bench.time(t, n)", [texts, size]) * 1000

    def first(self, peers, repeats):
        """ms from navigation to the first vector: with nothing cached, then again in the same profile."""
        found = {(kind, side): [] for kind in ("cold", "cached") for side in ("ours", *peers)}
        for _ in range(repeats):
            for side in ("ours", *peers):
                with profile(self.playwright) as context:
                    context.new_page().goto("about:blank")  # the browser itself has started
                    for kind in ("cold", "cached"):
                        page, ms = self.open(context, side, 1)
                        found[kind, side].append(ms)
                        page.close()
        for kind in ("cold", "cached"):
            best = min(peers, key=lambda side: median(found[kind, side]))
            yield against(f"embed.first_{kind}", "ms", "lower", found[kind, "ours"], found[kind, best], best, 1)


def against(name, unit, better, ours, theirs, dtype, threads):
    version = json.loads((ROOT / "bench/peers/package.json").read_text("utf-8"))["dependencies"][PEER]
    return claim(name, unit, better, ours, PEER, version, f"{dtype}, wasm, {threads} thread(s)", theirs, 1.0)
