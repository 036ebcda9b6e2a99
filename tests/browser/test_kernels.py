"""Kernels in Chromium: a signed pack with its extensions in a worker, and bad kernels that end their worker under their name."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
import kernel_pack  # noqa: E402

from bench.microlora import served  # noqa: E402

SETUP = """async () => {
  const { loadPack } = await import("/web/engine/kernels.js");
  const { KernelRunner } = await import("/web/engine/watchdog.js");
  const makeRunner = () => new KernelRunner(() => new Worker("/web/engine/kernel-worker.js", { type: "module" }));
  const trust = await (await fetch("/pack/trust.json")).json();
  window.pack = await loadPack("/pack/", { trust, runtimeVersion: "0.5.0", makeRunner });
  return { checked: pack.checked, build: pack.builds.engine.path };
}"""
BAD = """async (name) => {
  const call = { params: new Uint8Array(), a: new Float32Array(4), b: new Float32Array(0), out: new Float32Array(4), scratch: 0 };
  const bytes = new Uint8Array(await (await fetch(`/pack/bad/${name}.wasm`)).arrayBuffer());
  await pack.runner.load(name, bytes, name === "runaway" ? { ticks: 30 } : {}); // the others end by themselves, on a busy machine later
  const code = await pack.runner.run(name, call).catch((error) => error.code);
  const params = new Uint8Array(new Uint32Array([0, 2, 1]).buffer);
  const good = { params, a: Float32Array.of(3, 4), b: Float32Array.of(1, 1), out: new Float32Array(2), scratch: 0 };
  const after = await pack.runner.run("rmsnorm_f32", good);
  const y = pack.host.run("normalize", { x: [3, 4], rows: 1, d: 2 }).y;
  return { code, after: after.code, y: [...y] };
}"""
TRAPS = [
    ("runaway", "kernel_deadline"),
    ("unreachable", "kernel_unreachable"),
    ("out_of_bounds", "kernel_memory_access"),
    ("divide", "kernel_integer_overflow"),
    ("recursion", "kernel_stack_overflow"),
    ("bad_call", "kernel_indirect_call"),
]


@pytest.fixture(scope="module")
def tab(chromium, tmp_path_factory):
    built, blank = kernel_pack.write_pack(tmp_path_factory.mktemp("pack")), tmp_path_factory.mktemp("page")
    (blank / "index.html").write_text("<!doctype html><link rel=icon href=data:,><title>kernels</title>")
    with served({"/web/": ROOT / "web", "/pack/": built, "/": blank}) as address:
        page = chromium.new_page()
        page.goto(f"{address}/index.html")
        page.started = page.evaluate(SETUP)
        yield page
        page.close()


def test_a_signed_pack_is_verified_and_health_checked_in_the_browser(tab):
    assert tab.started["checked"] > 60 and tab.started["build"] == "engine.relaxed.wasm"


@pytest.mark.parametrize("name,code", TRAPS)
def test_a_bad_kernel_ends_its_worker_and_the_engine_keeps_working(tab, name, code):
    answer = tab.evaluate(BAD, name)
    assert answer["code"] == code and answer["after"] == 0
    assert answer["y"] == pytest.approx([0.6, 0.8])
