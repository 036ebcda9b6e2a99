"""`bench steps`: where the time of a training step goes, by kind of instruction, on one thread in Chromium.

Every instruction is run by itself and counts with the fastest of its runs, so that a busy machine hardly shows. Nothing is compared with a
peer, and what threads wait for each other is not in it: that is `bench lora`.
"""

from __future__ import annotations

import json
from collections import defaultdict

from playwright.sync_api import sync_playwright

from bench.browser import on_page, profile, served
from bench.common import claim, result
from bench.peers.lora.prepare import DOTS, HOME, MODELS, ROWS, prepare
from edgenet.kernels.lm import table

# What an instruction multiplies, in the names of its arguments: multiply-adds beside rows
PRODUCTS = {name: ("in", "out") for name in ("matmul", "matmul_f32", "matmul_int8", "matmul_t", "matmul_t_int8")}


def run(quick: bool = False) -> dict:
    """steps.<model>_<dots>.<instruction> and the sum of all; `machine` has G multiply-adds a second of the products."""
    claims, speeds = [], {}
    with served(prepare()) as base, sync_playwright() as playwright, profile(playwright) as context:
        for name, (shape, _) in MODELS.items():
            for dots in DOTS:
                times = fastest(context, base, name, dots, shape.vocab, 3 if quick else 12)
                program = json.loads((HOME / name / f"{dots}.json").read_text())["train"]
                kinds, speeds[f"{name}_{dots}"] = summed(program, times)
                kinds = {"all": sum(times), **kinds}
                claims += [row(f"steps.{name}_{dots}.{kind}", ms) for kind, ms in kinds.items()]
    return result(claims, speeds=speeds)


def row(name: str, ms: float) -> dict:
    return claim(name, "ms", "lower", [ms], "nobody", "", f"{ROWS} tokens, one thread", [])


def fastest(context, base, name, dots, vocabulary, repeats) -> list[float]:
    """Milliseconds of each instruction."""
    options = {"site": "site/", "model": f"{name}.gguf", "files": name, "programs": dots, "rows": ROWS}

    def measure(page):
        page.evaluate("(o) => bench.open(o)", {**options, "vocabulary": vocabulary})
        runs = [page.evaluate("() => bench.run()") for _ in range(repeats)]
        return [min(samples) for samples in zip(*runs, strict=True)]

    return on_page(context, base, "steps", measure)


def summed(program: dict, times: list[float]) -> tuple[dict[str, float], dict[str, float]]:
    """(milliseconds by kind of instruction, the largest first; G multiply-adds a second of products). A kind: its op and type of weight."""
    spent, work = defaultdict(float), defaultdict(int)
    for (op, values, _), ms in zip(program["code"], times, strict=True):
        named = {arg.name: value for arg, value in zip(table.op(op).args, values, strict=True)}
        kind = op + (f"_{program['weights'][named['w'][1]]['type']}" if op in PRODUCTS else "")
        spent[kind] += ms
        if op in PRODUCTS:
            work[kind] += ROWS * named["in"] * named["out"]
    order = sorted(spent, key=spent.__getitem__, reverse=True)
    return {kind: spent[kind] for kind in order}, {kind: round(n / spent[kind] / 1e6, 1) for kind, n in work.items()}
