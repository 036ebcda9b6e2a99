"""`bench encoder`: all-MiniLM-L6-v2 in our own engine (2.0.0, texts packed, not padded) against transformers.js, same sentences, in turns.

Float32 of the peer is the measure; its q8 is faster and much less exact, and is compared as well. Cosines are against float32 in CPython.
"""

import json
import random
import shutil
from functools import partial

import numpy as np
from playwright.sync_api import sync_playwright

from bench.browser import profile
from bench.common import claim, interleave, result
from bench.embed import PEER, SENTENCES, Bench, float32_vectors, site_and_peer
from bench.peers.embed.prepare import HOME
from tools.paths import OUT, ROOT

MODEL = "minilm-l6-v2-q8-2.0.0"
LEAST_COSINE = 0.998
TARGETS = {("fp32", 1): 1.5, ("fp32", 2): 2.0, ("q8", 1): 0.9, ("q8", 2): 0.9}
BATCH = 32


def run(quick: bool = False) -> dict:
    """encoder.minilm_1t and _2t, each over fp32 and over q8; the worst cosine of every side."""
    repeats = 5 if quick else 9
    judged = random.Random(1).sample(SENTENCES, 60) if quick else SENTENCES
    exact = float32_vectors(judged)
    with site_and_peer() as base, sync_playwright() as playwright:
        prepare()
        bench = EncoderBench(playwright, base)
        worst = {side: bench.worst(side, judged, exact) for side in ("engine", "fp32", "q8")}
        print(
            "worst cosine over",
            len(judged),
            "sentences:",
            ", ".join(f"{k} {v:.5f}" for k, v in worst.items()),
            flush=True,
        )
        if worst["engine"] < LEAST_COSINE:
            print(f"  below {LEAST_COSINE}: MISSED", flush=True)
        claims = [row for threads in (1, 2) for row in bench.speeds(threads, repeats)]
    return result(claims, worstCosine=worst, sentences=len(judged))


def prepare():
    """The published model and what the engine reads beside it."""
    shutil.copytree(OUT / "models" / MODEL, HOME / "engine-model", dirs_exist_ok=True)


class EncoderBench(Bench):
    """Pages of one Chromium; a side is `engine` or one of the peer's dtypes."""

    def open(self, context, side, threads):
        page = context.new_page()
        page.goto(f"{self.base}peer/{'engine' if side == 'engine' else 'peer'}.html")
        options = {
            "site": f"{self.base}site/",
            "files": f"{self.base}peer/engine-model/",
            "dtype": side,
            "threads": threads,
        }
        page.wait_for_function("window.bench")
        return page, page.evaluate("([o, t]) => window.bench.first(o, t)", [options, SENTENCES[0]])

    def worst(self, side, judged, exact):
        with profile(self.playwright) as context:
            page, _ = self.open(context, side, 1)
            return float((np.array(page.evaluate("t => window.bench.vectors(t)", judged)) * exact).sum(1).min())

    def speeds(self, threads, repeats):
        """Sentences per second, 32 of mixed length to a call."""
        texts = random.Random(32).sample(SENTENCES, BATCH)
        with profile(self.playwright) as context:
            pages = {side: self.open(context, side, threads)[0] for side in ("engine", "fp32", "q8")}
            sides = {side: partial(self.sentences_per_second, page, texts, BATCH) for side, page in pages.items()}
            interleave(sides, 1)
            samples = interleave(sides, repeats)
        version = json.loads((ROOT / "bench/peers/package.json").read_text("utf-8"))["dependencies"][PEER]
        for dtype in ("fp32", "q8"):
            name = f"encoder.minilm_{threads}t" + ("" if dtype == "fp32" else f"_{dtype}")
            config = f"{dtype}, wasm, {threads} thread(s)"
            row = claim(
                name,
                "sentences/s",
                "higher",
                samples["engine"],
                PEER,
                version,
                config,
                samples[dtype],
                TARGETS[dtype, threads],
            )
            print(f"  {name}: {row['value']:.2f}x", flush=True)
            yield row
