"""`bench llm`: a decoder of Qwen2.5-0.5B's shape in our engine, llama.cpp (native), wllama and ONNX Runtime Web, in turns.

Weights are random (speed does not depend on them), shapes and block layouts are the real ones. Every side reads the same number of
prompt tokens, then decodes greedily. Claims are against native llama.cpp unless their name says otherwise.
"""

import json
import subprocess
from contextlib import ExitStack
from functools import partial
from itertools import count
from statistics import median

from playwright.sync_api import sync_playwright

from bench.browser import launched, on_page, page_at, profile, resident, served
from bench.common import LEAST_SAMPLES, claim, interleave, result
from bench.peers.llm.prepare import GGUF, HOME, MODEL, ONNX, VARIANTS, prepare, publish
from bench.peers.llm.shapes import QWEN05
from bench.peers.native import install
from tools.paths import ROOT

DECODE, PROMPTS = 32, (128, 512)
OURS = {"site": "site/", "id": MODEL}  # what pages of our SDK are told
SEEDS = count(1)  # of prompts: no two are alike, or a prefix would be found in the cache
# (claim, figure, kind of peer) → the least ratio promised
TARGETS = {
    ("decode", "native"): 1.0,
    ("decode", "ort"): 3.0,
    ("decode", "wllama"): 5.0,
    ("prefill", "native"): 0.5,
    ("prefill", "ort"): 1.5,
}


def run(quick: bool = False) -> dict:
    """llm.decode_*, llm.prefill*_*, llm.first_token, llm.batch4, llm.load; each against its peers."""
    repeats = 5 if quick else 7
    claims, about = [], {}
    home = prepare()
    publish(home / "site")
    with served(home) as base, sync_playwright() as playwright:
        for threads in (1, 2):
            with ExitStack() as stack:
                sides = open_sides(stack, playwright, base, threads, about)
                for rows in (decoding(sides, threads, repeats), prefilling(sides, threads, repeats)):
                    claims += shown(rows)
                if threads == 2:
                    claims += shown([batch(sides["ours"], repeats)])
                else:
                    claims += shown([first_token(sides, repeats)])
        claims += shown(starting(playwright, base, repeats))
        about["memory"] = memory(playwright, base)
        print(f"  memory: {about['memory']}", flush=True)
    return result(claims, **about)


def shown(rows):
    """The rows, each printed as it comes: it is minutes until the table."""
    for row in rows:
        print(f"  {row['name']}: {row['value'] and round(row['value'], 2)}x", flush=True)
        yield row


def open_sides(stack, playwright, base, threads, about):
    """{side: run(prompt=, decode=, seed=) → figures}; a side that cannot be opened is said and left out."""
    makers = {
        "ours": lambda: page(
            stack, playwright, base, "ours", {"site": "site/", "model": GGUF, "files": "ours", "threads": threads}
        ),
        "native": lambda: native(stack, threads),
        "wllama": lambda: page(stack, playwright, base, "wllama", {"model": GGUF, "threads": threads}),
        **{
            f"ort {v}": partial(page, stack, playwright, base, "ort", {"model": ONNX.format(v), "threads": threads})
            for v in VARIANTS
        },
    }
    sides = {}
    for name, make in makers.items():
        opened = make()
        if opened:
            sides[name], about[f"{name}, {threads}"] = opened
            print(f"  {name}: {about[f'{name}, {threads}']}", flush=True)
    return sides


def page(stack, playwright, base, name, options):
    """A page of its own browser, opened on its model."""
    browser = launched(playwright)
    stack.callback(browser.close)
    tab = page_at(browser, f"{base}{name}.html")
    about = tab.evaluate("(o) => bench.open(o)", options)
    more = {"kvHeads": QWEN05.kv_heads, "headDim": QWEN05.head_dim} if name == "ort" else {}
    return (lambda **args: tab.evaluate("(o) => bench.run(o)", {**more, **args})), about


def native(stack, threads):
    """llama.cpp in a process of its own; None where it cannot be compiled."""
    python = install.python()
    if not python:
        return None
    command = [python, ROOT / "bench" / "peers" / "native" / "llama.py", HOME / GGUF, str(threads)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    stack.callback(process.kill)
    about = json.loads(process.stdout.readline())

    def ask(**args):
        print(json.dumps(args), file=process.stdin, flush=True)
        return json.loads(process.stdout.readline())

    return ask, about


def measured(sides, repeats, figure, **args):
    """{side: samples} of one figure, in turns; every run has a seed of its own, so nothing is cached."""
    taken = {name: (lambda ask=ask: figure(ask(seed=next(SEEDS), **args))) for name, ask in sides.items()}
    interleave(taken, 1)
    return interleave(taken, repeats)


def against(name, unit, better, samples, kind, threads, target, config):
    """Ours against the best side of a kind (`native`, `wllama`, `ort`)."""
    known = [side for side in samples if side.split()[0] == kind]
    pick = max if better == "higher" else min
    best = pick(known, key=lambda side: median(samples[side])) if known else kind
    return claim(
        name,
        unit,
        better,
        samples["ours"],
        best,
        VERSIONS[kind],
        f"{config}, {threads} thread(s)",
        samples.get(best, []),
        target,
    )


VERSIONS = {
    "native": install.VERSION,
    **{kind: json.loads((ROOT / "bench/peers/package-lock.json").read_text())["packages"][f"node_modules/{package}"]["version"]
       for kind, package in (("wllama", "@wllama/wllama"), ("ort", "onnxruntime-web"))},
}  # fmt: skip


def decoding(sides, threads, repeats):
    samples = measured(sides, repeats, lambda f: DECODE / f["decode_ms"] * 1e3, prompt=PROMPTS[0], decode=DECODE)
    for kind in ("native", "ort", "wllama"):
        name = f"llm.decode_{threads}t" + ("" if kind == "native" else f"_{kind}")
        yield against(
            name, "tokens/s", "higher", samples, kind, threads, TARGETS["decode", kind], f"{PROMPTS[0]} prompt tokens"
        )


def prefilling(sides, threads, repeats):
    few = {
        name: ask for name, ask in sides.items() if name != "wllama"
    }  # it takes a minute a prompt, and nothing is claimed
    for prompt in PROMPTS:
        samples = measured(few, repeats, lambda f, n=prompt: n / f["prefill_ms"] * 1e3, prompt=prompt, decode=0)
        for kind in ("native", "ort"):
            name = f"llm.prefill{prompt}_{threads}t" + ("" if kind == "native" else f"_{kind}")
            yield against(
                name, "tokens/s", "higher", samples, kind, threads, TARGETS["prefill", kind], f"{prompt} tokens"
            )


def first_token(sides, repeats):
    few = {name: sides[name] for name in ("ours", "native") if name in sides}
    samples = measured(few, repeats, lambda f: f["first_ms"], prompt=16, decode=0)
    return against("llm.first_token", "ms", "lower", samples, "native", 1, 0.67, "model in memory, 16 prompt tokens")


def batch(ours, repeats):
    """Four streams together against one: tokens decoded in a second, the prompts being in the cache."""

    def speed(streams):
        asked = {"prompt": 16, "seed": next(SEEDS), "streams": streams}
        ours(decode=0, **asked)
        found = ours(decode=2 * DECODE, **asked)
        return found["tokens"] / found["wall_ms"] * 1e3

    samples = interleave({"ours": lambda: speed(4), "one": lambda: speed(1)}, repeats)
    return claim(
        "llm.batch4",
        "tokens/s",
        "higher",
        samples["ours"],
        "our engine, one stream",
        "",
        "2 threads, prompts cached",
        samples["one"],
        2.2,
    )


def starting(playwright, base, repeats):
    """From the browser's storage to a model that is ready; from a page's address to its first token. Everything is cached, on disk."""
    with profile(playwright) as context:

        def ask(side, call, options):
            """What `bench.<call>` answers on a fresh page of a side."""
            return on_page(context, base, side, lambda page: page.evaluate(f"(o) => bench.{call}(o)", options))

        file = ask("sdk", "pull", OURS)  # before anything else: its first token is cached, too
        yield from loading(ask, file, context.browser.version if context.browser else "", repeats)
        yield first_cached(ask)


def loading(ask, file, browser, repeats):
    def opened(side, model):
        return ask(side, "open", {"model": model, "threads": 2})["load_ms"]

    sides = {
        "ours": partial(ask, "sdk", "load", {**OURS, "version": file["version"], "threads": 2}),
        "plain": partial(ask, "sdk", "plain", file),
    }
    interleave(sides, 1)
    sides |= {"wllama": partial(opened, "wllama", GGUF), "ort": partial(opened, "ort", ONNX.format("q8"))}
    samples = interleave(sides, repeats)
    rate = {name: [file["size"] / 1e3 / ms for ms in samples[name]] for name in ("ours", "plain")}
    config = f"{file['size']} bytes, 2 threads"
    yield claim("llm.load", "MB/s", "higher", rate["ours"], "plain OPFS reading", browser, config, rate["plain"], 0.5)
    for kind, config in (("wllama", "from a Blob in memory"), ("ort", "q8, from memory")):
        yield claim(
            f"llm.load_{kind}", "ms", "lower", samples["ours"], kind, VERSIONS[kind], config, samples[kind], 1.0
        )


def first_cached(ask):
    prompt = list(range(300, 316))
    sides = {
        "ours": partial(ask, "sdk", "first", {**OURS, "tokens": prompt}),
        "wllama": partial(ask, "wllama", "first", {"model": GGUF, "prompt": len(prompt)}),
    }
    interleave(sides, 1)
    samples = interleave(sides, LEAST_SAMPLES)
    config, peer = "its own cache of downloads, 16 prompt tokens", VERSIONS["wllama"]
    return claim(
        "llm.first_token_cached", "ms", "lower", samples["ours"], "wllama", peer, config, samples["wllama"], 1.0
    )


def memory(playwright, base):
    """Bytes of WASM memory without KV over those of the file; the renderer's peak of resident memory less an empty page's."""
    with profile(playwright) as context:
        empty = on_page(context, base, "sdk", lambda page: resident(context))
        options = {"site": "site/", "model": GGUF, "files": "ours", "threads": 1}

        def use(page):
            page.evaluate("(o) => bench.open(o)", options)
            page.evaluate("(o) => bench.run(o)", {"prompt": PROMPTS[0], "decode": 4, "seed": 1})
            return page.evaluate("() => bench.memory()"), resident(context)

        wasm, full = on_page(context, base, "ours", use)
    file = (HOME / GGUF).stat().st_size
    return {
        "wasm_less_kv_over_file": round((wasm["wasmBytes"] - wasm["kvCacheBytes"]) / file, 4),
        "resident_over_file": round((full - empty) / file, 4),
        **wasm,
    }
