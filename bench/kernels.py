"""`bench kernels`: hot kernels of the engine module in Chromium, one thread, beside their scalar C twins, llama.cpp's own WebAssembly
kernels, and the machine's limits as measured in the same turns.

Shapes are those of Qwen2.5-0.5B. A claim "of the … limit" says which part of the limit is reached: 1 cannot be passed. Decoding reads more
weights than caches hold. CPython only.
"""

from __future__ import annotations

from bench.browser import launched
from bench.common import LEAST_SAMPLES, claim, result
from bench.microlora import served
from bench.peers.kernels.prepare import prepare
from bench.peers.native.install import VERSION

HIDDEN, FFN = 896, 4864
APART = 0.02  # twins take 8-bit activations where the engine takes 16
TRAINING = ("matmul_f32", "matmul_t", "matmul_t_int8")
TYPES = ("q4_0", "q8_0", "q4_k", "q6_k", "f16", "f32")
OF_F32 = ("attention", "matmul_f32", "matmul_t")
# Side -> what its claim is called, and whose it is
RIVALS = {"twins": ("", "scalar C twin"), "forward": (".of_forward", "matmul")}
# Type -> the limit of its multiply-adds, bytes a weight has in the engine
FORMS = {
    "q4_0": ("int8", 0.5625),
    "q8_0": ("int16", 1.0625),
    "q4_k": ("int8", 0.625),
    "q6_k": ("int8", 0.875),
    "f16": ("f32", 2),
    "f32": ("f32", 4),
}


def cases() -> dict[str, dict]:
    """What the page runs, by name."""
    made = {}
    for kind in TYPES:
        width = 1024 if kind.endswith("_k") else HIDDEN  # whole superblocks
        for name, rows in (("decode", 1), ("batch4", 4), ("prefill32", 32)):
            made[f"matmul.{kind}.{name}"] = {"kind": "matmul", "type": kind, "rows": rows, "out": FFN, "in": width}
    for kernel in TRAINING:
        for kind in ("q4_0", "q8_0"):
            sizes = {"kernel": kernel, "type": kind, "rows": 128, "out": FFN, "in": HIDDEN}
            made[f"{kernel}.{kind}.batch128"] = {"kind": "training", **sizes}
    made["quantize.prefill32"] = {"kind": "quantize", "rows": 32, "in": FFN}
    made["rms_norm.prefill32"] = {"kind": "norm", "rows": 32, "in": HIDDEN}
    made["attention.decode"] = {"kind": "attention", "tokens": 1024, "heads": 14, "kvHeads": 2, "headDim": 64}
    return made


def measure(quick: bool) -> dict:
    """Samples by case and side, and the browser's version."""
    from playwright.sync_api import sync_playwright

    arguments = {"cases": cases(), "samples": LEAST_SAMPLES if quick else 9, "ms": 10 if quick else 30}
    with served({"/": prepare()}) as address, sync_playwright() as play:
        browser = launched(play)
        page = browser.new_page()
        page.set_default_timeout(1_200_000)
        page.goto(f"{address}/page.html")
        page.wait_for_function("window.ready")
        out = page.evaluate("(args) => window.bench(args)", arguments)
        return {"cases": out, "browser": f"Chromium {browser.version}"}


def claims_of(cases: dict) -> list[dict]:
    """For each case: over the twin, over llama.cpp's kernels, and the share of each limit."""
    made = []
    for name, sides in cases.items():
        if sides.get("apart", 0) > APART:
            raise RuntimeError(
                f"{name}: the engine and the scalar twin differ by {sides['apart']:.3g} of the largest number."
            )
        unit, ours = "G/s", sides["engine"]
        config = "one thread, same page, in turns"
        for side, (metric, rival) in RIVALS.items():
            if side in sides:
                made.append(claim(f"kernels.{name}{metric}", unit, "higher", ours, rival, "", config, sides[side]))
        for build in ("arch", "generic"):
            if build in sides:
                made.append(
                    claim(
                        f"kernels.{name}.{build}", unit, "higher", ours, "llama.cpp wasm", VERSION, build, sides[build]
                    )
                )
        for limit, bound in limits_of(name, sides).items():
            made.append(
                claim(f"kernels.{name}.of_{limit}", unit, "higher", ours, f"{limit} limit", "", "measured", bound)
            )
    return made


def limits_of(name: str, sides: dict) -> dict[str, list[float]]:
    """The limits in the case's own unit: multiply-adds of its kind, and for decoding the weights that memory gives."""
    kernel, kind, *rest = name.split(".")
    if kernel != "matmul":
        return {"f32": sides["f32"]} if kernel in OF_F32 else {}
    arithmetic, size = FORMS[kind]
    found = {arithmetic: sides[arithmetic]}
    return found | ({"memory": [v / size for v in sides["read"]]} if rest == ["decode"] else {})


def run(quick: bool = False) -> dict:
    """Measure; answers `{"claims": […], "machine": …}`."""
    out = measure(quick)
    return result(claims_of(out["cases"]), browser=out["browser"])
