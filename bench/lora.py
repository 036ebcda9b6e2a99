"""`bench lora`: one optimiser step of LoRA (1 x 128 tokens, rank 4 on q, k, v, o, AdamW) in Chromium beside native PyTorch in F32; and
what the completion model learns in a tab from one part of a package that it never saw, and how fast adapters come and go.

Weights of the steps are random; ours are quantised, as people have them, PyTorch's F32. `f32` expands weights as it multiplies; `int8`
quantises activations and gradients too. Both sides use two threads.
"""

import json
import subprocess
from contextlib import ExitStack, contextmanager
from functools import partial
from statistics import median

from playwright.sync_api import sync_playwright

from bench.browser import on_page, profile, resident, served
from bench.common import LEAST_SAMPLES, claim, interleave, result
from bench.llm import shown
from bench.peers.lora.prepare import DOTS, MODELS, RANK, ROWS, file_of, prepare, shape_json
from bench.peers.torch import install
from tools.codemodel import corpus, personal
from tools.paths import ROOT

THREADS = 2
# (model, dots) → the least ratio promised
TARGETS = {("small", "int8"): 0.5, ("0.5b", "f32"): 0.3, ("0.5b", "int8"): 0.6}
MEMORY = 3.0
PERSONAL = "python-completion-7m-q8"
GAIN, LOSS, MINUTES = 0.08, 0.03, 5  # bits per byte saved on the other part, lost on unrelated text; time of a course
LOADED, SWITCHED = 100, 5  # ms at most to load an adapter; to answer by another one than before


def run(quick: bool = False) -> dict:
    """lora.step_* and lora.memory_0.5b."""
    repeats = LEAST_SAMPLES if quick else 7
    claims, about = [], {}
    with served(prepare()) as base, sync_playwright() as playwright:
        for name in MODELS:
            claims += shown(stepping(playwright, base, name, repeats, about))
        claims += shown(learning(playwright, base, about))
    return result(claims, **about)


@contextmanager
def torch(name):
    """`step()` → its figures, in a process of its own; None where PyTorch cannot be had."""
    python = install.python()
    if not python:
        yield None
        return
    command = [python, ROOT / "bench/peers/torch/step.py", shape_json(name), str(THREADS), str(ROWS), str(RANK)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            print(f"  PyTorch: {process.stdout.readline().strip()}", flush=True)

            def step():
                print("step", file=process.stdin, flush=True)
                return json.loads(process.stdout.readline())

            yield step
        finally:
            process.kill()


def stepping(playwright, base, name, repeats, about):
    """Seconds of a step, all sides in turns in one run, and what each held at most."""
    shape = MODELS[name][0]
    options = {
        "site": "site/", "model": f"{name}.gguf", "files": name, "threads": THREADS, "rows": ROWS, "vocabulary": shape.vocab,
    }  # fmt: skip
    with ExitStack() as stack:
        native = stack.enter_context(torch(name))
        context = stack.enter_context(profile(playwright))

        def measure(page):
            opened = page.evaluate("(o) => bench.open(o)", {**options, "programs": DOTS})
            seeds = iter(range(1, 1000))
            sides = {d: partial(ours, page, d, seeds) for d in DOTS} | (
                {"torch": lambda: native()["s"]} if native else {}
            )
            interleave(sides, 1)
            samples = interleave(sides, repeats)
            return opened, samples

        opened, samples = on_page(context, base, "ours", measure)
        theirs = native()["peak"] if native else 0
    peaks = {**held(playwright, base, options), "torch": theirs}
    about[name] = {
        **opened,
        **peaks,
        "file": file_of(name).stat().st_size,
        "seconds": {s: round(median(v), 3) for s, v in samples.items()},
    }
    print(f"  {name}: {about[name]}", flush=True)
    over = partial(claim, peer="PyTorch", version=install.VERSION)
    how = f"{ROWS} tokens, rank {RANK}, {THREADS} threads, F32"
    for dots in DOTS:
        label = f"lora.step_{name}" if (name, dots) == ("small", "int8") else f"lora.step_{name}_{dots}"
        target = TARGETS.get((name, dots))
        yield over(label, "s", "lower", samples[dots], config=how, theirs=samples.get("torch", []), target=target)
    if name == "0.5b":
        hundred = [100 * seconds for seconds in samples["int8"]]
        yield limited("lora.hundred_samples", "s", hundred, f"{ROWS} tokens each, int8", 60 * MINUTES)
        how = "peak of resident memory; ours: int8, the page's process"
        native = [peaks["torch"]] if peaks["torch"] else []
        yield over("lora.memory_0.5b", "bytes", "lower", [peaks["ours"]], config=how, theirs=native, target=MEMORY)


def held(playwright, base, options):
    """Bytes: the peak of a page's process that trains in int8 alone, its WASM memory, and the peak of a page without a model."""

    def use(page):
        page.evaluate("(o) => bench.open(o)", {**options, "programs": ["int8"]})
        for seed in (1, 2):
            page.evaluate("(o) => bench.step(o)", {"programs": "int8", "seed": seed})
        return {"ours": resident(context), "wasm": page.evaluate("() => bench.memory()")["wasmBytes"]}

    with profile(playwright) as context:
        empty = on_page(context, base, "ours", lambda page: resident(context))
        return {"empty": empty, **on_page(context, base, "ours", use)}


def ours(page, dots, seeds):
    """Seconds of one step."""
    return page.evaluate("(o) => bench.step(o)", {"programs": dots, "seed": next(seeds)})["s"]


def learning(playwright, base, about):
    """Bits per byte of the package's other part and of unrelated modules, before and after; a control learns from shuffled characters."""
    split = corpus.split(corpus.read_archive(personal.ARCHIVE))
    unrelated = personal.unrelated(split["held-out"])
    with profile(playwright) as context:
        for package in corpus.PERSONAL:
            learn, other = personal.parts(package, split["personal"])
            asked = {"measured": {"other": other, "unrelated": unrelated}, "seed": 0}

            def course(page, texts, asked=asked):
                about["tab"] = page.evaluate("(o) => bench.open(o)", {"site": "site/", "id": PERSONAL})
                return page.evaluate("(o) => bench.course(o)", {**asked, "learn": texts})

            own, control = (
                on_page(context, base, "learns", partial(course, texts=t)) for t in (learn, personal.shuffled(learn))
            )
            about[package] = {"own": own, "shuffled": control}
            print(f"  {package}: {about[package]}", flush=True)
            yield from outcomes(package, own, control)


def outcomes(package, own, control):
    """Claims whose peer is the model as it was."""
    over = partial(claim, peer="the model as it was", version="", unit="bits/byte", better="lower")
    rows = (
        ("learns", own, "other", 1 / (1 - GAIN)),
        ("keeps", own, "unrelated", 1 / (1 + LOSS)),
        ("control", control, "other", None),
    )
    for name, found, part, target in rows:
        bits = {"ours": [found["after"][part]], "theirs": [found["before"][part]]}
        yield over(f"lora.{name}_{package}", config=f"{found['steps']} steps, {part} text", target=target, **bits)
    yield limited(f"lora.course_{package}", "s", [own["seconds"]], "in the tab", 60 * MINUTES)
    if package == corpus.PERSONAL[0]:
        yield limited("lora.adapter_load", "ms", own["loads"][:1], "the first one, rank 4", LOADED)
        yield limited(
            "lora.adapter_switch", "ms", own["other"], "one token by another adapter", median(own["same"]) + SWITCHED
        )


def limited(name, unit, ours, config, most):
    """A claim whose peer is a limit."""
    return claim(name, unit, "lower", ours, "the limit", "", config, [most], 1.0)
