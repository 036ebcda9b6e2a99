"""Extension kernels through the SDK on the built site: listed, run, refused by name, stopped and restored; packs of third parties; the frame."""

import json
import re
import sys
from pathlib import Path

import pytest

from edgenet.kernels.authoring import complete_pack
from tests.browser.hosting import blank, hosted
from tests.browser.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
import kernel_pack  # noqa: E402

pytestmark = pytest.mark.browser
SHOP = "<!doctype html><html lang=en><meta charset=utf-8><title>a shop</title><body></body></html>"
BAD = {
    "runaway": "kernel_deadline",
    "unreachable": "kernel_unreachable",
    "out_of_bounds": "kernel_memory_access",
    "divide": "kernel_integer_overflow",
    "recursion": "kernel_stack_overflow",
    "bad_call": "kernel_indirect_call",
}
PRELUDE = """async () => {
  if (!window.edgenet) window.edgenet = await import("./edgenet.js");
  window.said = [];
  window.make = (options) => {
    window.loader = new edgenet.ModelLoader(options);
    loader.addEventListener("notice", ({ detail }) => said.push([detail.code, detail.kernel]));
  };
  make();
  window.numbers = (...all) => Float32Array.from(all);
  window.caught = async (work) => { try { return { result: await work() }; } catch (e) { return { name: e.name, code: e.code, message: e.message, details: e.details }; } };
  window.rmsnorm = async () => [...(await loader.runKernel("rmsnorm_f32", { a: numbers(3, 4), b: numbers(1, 1), params: { rows: 1, hidden: 2, eps: 0 } })).output];
}"""
NORMED = pytest.approx([3 / 12.5**0.5, 4 / 12.5**0.5])


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Compiled test kernels, good and bad."""
    return kernel_pack.write_pack(tmp_path_factory.mktemp("pack"))


def description(modules):
    """A pack whose kernels all copy their input, or should; `modules`: id → bytes. Cases are such that a switched-off bad kernel passes."""
    tensor = {"dtype": "f32", "shape": ["n"]}
    params = {"n": {"type": "u32"}, "go": {"type": "u32", "default": 0}}
    shape = {"inputs": [{"name": "x", **tensor}], "outputs": [{"name": "y", **tensor}], "params": params}
    case = {"a": [1, 2], "params": {"n": 2}, "expected": [1, 2]}
    rows = [{"id": name, "path": f"{name}.wasm", **shape, "cases": [case]} for name in modules]
    head = {
        "name": "acme",
        "version": "1.0.0",
        "min_runtime_version": "0.1.0",
        "max_runtime_version": "0.9.9",
        "author": {},
    }
    return head | {"kernels": rows}


# Traps only when told to, so that it passes its health check: `go` chooses how.
SWITCH = """#include "kernel.h"
typedef struct { uint32_t n, go; } params_t;
STATELESS(sizeof(params_t))
EXPORT(kernel_forward) int kernel_forward(const descriptor *d) {
  const params_t *p = AT(const params_t, d->params);
  if (p->go == 1) for (volatile int forever = 1; forever;) {}
  if (p->go == 2) __builtin_trap();
  if (p->go == 3) return NOT_IMPLEMENTED;
  for (uint32_t i = 0; i < p->n; i++) AT(float, d->out)[i] = AT(const float, d->a)[i];
  return OK;
}
"""


def write(folder, document, modules):
    """A signed third-party pack in a folder."""
    files = {f"{name}.wasm": data for name, data in modules.items()}
    made = complete_pack(json.dumps(document).encode(), files) | files
    made["kernels.json.sig"] = kernel_pack.sign(made["kernels.json"])
    folder.mkdir(exist_ok=True)
    for name, data in made.items():
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture(scope="module")
def switch(tmp_path_factory):
    from tools.steps import wasm

    folder = tmp_path_factory.mktemp("switch")
    (folder / "switch.c").write_text(SWITCH)
    return wasm.compile_c([folder / "switch.c"], folder / "switch.wasm", (f"-I{ROOT / 'wasm' / 'ext'}",)).read_bytes()


@pytest.fixture
def sdk(page, site):
    blank(page, site())
    page.evaluate(PRELUDE)
    return page


@pytest.fixture
def acme(sdk, tmp_path, switch):
    """A page that can add the third party's pack, served below the site as `acme/`."""
    folder = write(tmp_path / "acme", description({"switch": switch}), {"switch": switch})

    def answer(route):
        path = folder / route.request.url.rsplit("/acme/", 1)[1]
        route.fulfill(body=path.read_bytes()) if path.exists() else route.fulfill(status=404)

    sdk.context.route("**/acme/**", answer)
    sdk.folder = folder
    sdk.evaluate("(trust) => { window.trust = trust; }", kernel_pack.trust_document())
    return sdk


def test_the_sites_kernels_are_listed_and_run_without_a_model(sdk):
    rows = {row["id"]: row for row in sdk.evaluate("loader.kernels()")}
    assert {i for i, row in rows.items() if row["runnable"]} == {"rmsnorm_f32", "lora_apply_f32", "swiglu_f32"}
    assert rows["swiglu_f32"]["limits"]["max_epoch_ticks"] == 1000 and len(rows["swiglu_f32"]["keyId"]) == 16
    assert sdk.evaluate("rmsnorm()") == NORMED
    assert sdk.evaluate("async () => (await loader.status()).engine") is None


REFUSED = [
    ("a kernel nobody has", "loader.runKernel('none', {})", "kernel_not_found"),
    ("the engine's own", "loader.runKernel('normalize', { a: numbers(1) })", "kernel_not_found"),
    ("a pack that was not added", "loader.runKernel('acme/switch', { a: numbers(1) })", "kernel_not_found"),
    ("nothing at all", "loader.runKernel('swiglu_f32')", "kernel_parameters"),
    (
        "inputs of unequal size",
        "loader.runKernel('swiglu_f32', { a: numbers(1), b: numbers(1, 2), params: { rows: 1, hidden: 1, beta: 1 } })",
        "kernel_shape",
    ),
    (
        "an ordinary array",
        "loader.runKernel('swiglu_f32', { a: [1], b: numbers(1), params: { rows: 1, hidden: 1, beta: 1 } })",
        "kernel_dtype",
    ),
    (
        "what the kernel itself refuses",
        "loader.runKernel('rmsnorm_f32', { a: numbers(1), b: numbers(1), params: { rows: 1, hidden: 1, eps: -1 } })",
        "kernel_trap",
    ),
    (
        "more than its memory",
        "loader.runKernel('swiglu_f32', { a: new Float32Array(2e6), b: new Float32Array(2e6), params: { rows: 1, hidden: 2e6, beta: 1 } })",
        "kernel_allocation",
    ),
    ("a deadline of nothing", "loader.runKernel('swiglu_f32', {}, { deadline: 0 })", "invalid_option"),
]


@pytest.mark.parametrize(("reason", "work", "code"), REFUSED, ids=[row[0] for row in REFUSED])
def test_a_call_is_refused_by_name_and_the_next_one_works(sdk, reason, work, code):
    assert sdk.evaluate(f"caught(() => {work})").get("code") == code
    assert sdk.evaluate("rmsnorm()") == NORMED


def test_a_site_pack_changed_on_the_way_is_not_run_and_is_asked_for_again(sdk):
    def flipped(route):
        answer = route.fetch()
        data = bytearray(answer.body())
        data[100] ^= 1
        route.fulfill(response=answer, body=bytes(data))

    sdk.context.route("**/ext/swiglu_f32.wasm", flipped, times=1)
    assert sdk.evaluate("caught(() => rmsnorm())")["code"] == "pack_hash_mismatch"
    assert sdk.evaluate("rmsnorm()") == NORMED


def test_a_third_partys_pack_runs_beside_the_sites(acme):
    rows = acme.evaluate("loader.addKernels('acme/', { trust })")
    assert [row["id"] for row in rows] == ["acme/switch"]
    answer = acme.evaluate(
        "async () => [...(await loader.runKernel('acme/switch', { a: numbers(7, 8), params: { n: 2 } })).output]"
    )
    assert answer == [7, 8] and acme.evaluate("rmsnorm()") == NORMED
    assert "acme/switch" in acme.evaluate("async () => (await loader.kernels()).map((k) => k.id)")


ENDS = [
    ("one that runs for ever", "{ n: 2, go: 1 }", "{ deadline: 200 }", "kernel_deadline", 1),
    ("one that traps", "{ n: 2, go: 2 }", "{}", "kernel_unreachable", 1),
    ("one that says it cannot", "{ n: 2, go: 3 }", "{}", "kernel_trap", 0),
    ("one that is aborted", "{ n: 2, go: 1 }", "{ signal: AbortSignal.timeout(200) }", None, 0),
]


@pytest.mark.parametrize(("reason", "params", "options", "code", "notices"), ENDS, ids=[row[0] for row in ENDS])
def test_a_bad_call_ends_under_its_name_and_both_packs_go_on(acme, reason, params, options, code, notices):
    acme.evaluate("loader.addKernels('acme/', { trust })")
    found = acme.evaluate(
        f"caught(() => loader.runKernel('acme/switch', {{ a: numbers(1, 2), params: {params} }}, {options}))"
    )
    assert found.get("code") == code if code else found["name"] == "TimeoutError", found
    assert acme.evaluate("said") == [[code, "switch"]] * notices
    after = "async () => [...(await loader.runKernel('acme/switch', { a: numbers(7, 8), params: { n: 2 } })).output]"
    assert acme.evaluate(after) == [7, 8] and acme.evaluate("rmsnorm()") == NORMED


@pytest.mark.parametrize(("name", "code"), BAD.items())
def test_a_pack_with_a_bad_kernel_never_starts(acme, built, name, code):
    module = (built / "bad" / f"{name}.wasm").read_bytes()
    document = description([name])
    if name == "runaway":  # the others end by themselves, on a busy machine later
        document["kernels"][0]["resource_limits"] = {"max_epoch_ticks": 30}
    write(acme.folder, document, {name: module})
    found = acme.evaluate("caught(() => loader.addKernels('acme/', { trust }))")
    assert (found["code"], found["details"]["cause"]["code"]) == ("pack_health_check", code)
    assert acme.evaluate("rmsnorm()") == NORMED


DOUBTS = [
    ("no trust given", "{}", lambda d: None, "invalid_option"),
    ("a trust without its key", "{ trust: { schemaVersion: 1, keys: [other] } }", lambda d: None, "pack_signature"),
    (
        "a key that may not sign kernels",
        "{ trust: { schemaVersion: 1, keys: [{ ...trust.keys[0], capabilities: ['revoke'] }] } }",
        lambda d: None,
        "pack_no_trusted_key",
    ),
    (
        "an allowlist that lacks it",
        "{ trust, allowlist: { version: 1, kernels: {} } }",
        lambda d: None,
        "pack_not_in_allowlist",
    ),
    (
        "an answer that is wrong",
        "{ trust }",
        lambda d: d["kernels"][0]["cases"][0].update(expected=[1, 3]),
        "pack_health_check",
    ),
    (
        "a newer EdgeNet than this",
        "{ trust }",
        lambda d: d.update(min_runtime_version="9.0.0", max_runtime_version="9.9.9"),
        "pack_runtime_too_old",
    ),
    ("a name that could be mistaken", "{ trust }", lambda d: d.update(name="a/b"), "pack_invalid"),
]


@pytest.mark.parametrize(("reason", "options", "change", "code"), DOUBTS, ids=[row[0] for row in DOUBTS])
def test_a_third_partys_pack_is_refused_for(acme, switch, reason, options, change, code):
    document = description(["switch"])
    change(document)
    write(acme.folder, document, {"switch": switch})
    other = json.loads((ROOT / "dist" / "trust.json").read_text())["keys"][0]
    acme.evaluate("(key) => { window.other = key; }", other)
    assert acme.evaluate(f"caught(() => loader.addKernels('acme/', {options}))")["code"] == code
    assert acme.evaluate("async () => (await loader.kernels()).filter((k) => k.pack !== 'edgenet-kernels')") == []


def test_a_refused_upgrade_leaves_the_pack_that_was_there(acme, switch):
    acme.evaluate("loader.addKernels('acme/', { trust })")
    (acme.folder / "switch.wasm").write_bytes(switch + b"\0\0")
    assert acme.evaluate("caught(() => loader.addKernels('acme/', { trust }))")["code"] == "pack_hash_mismatch"
    assert acme.evaluate(
        "async () => [...(await loader.runKernel('acme/switch', { a: numbers(5), params: { n: 1 } })).output]"
    ) == [5]


def test_dispose_ends_every_kernel_worker(acme):
    acme.evaluate("loader.addKernels('acme/', { trust }).then(rmsnorm)")
    assert len(acme.workers) == 2
    acme.evaluate("loader.dispose()")
    assert acme.evaluate("caught(() => rmsnorm())")["code"] == "disposed"
    eventually(acme, lambda: not acme.workers)  # the browser tells of their end a moment later


def test_a_page_of_another_origin_runs_the_frames_kernels_and_adds_none(page, dist, tmp_path):
    (tmp_path / "index.html").write_text(SHOP)
    with hosted(dist, host="127.0.0.1") as engine, hosted(tmp_path, isolated=False) as shop:
        page.goto(shop)
        page.add_script_tag(url=engine + "edgenet.global.js")
        page.evaluate(PRELUDE)
        assert page.evaluate("rmsnorm()") == NORMED
        assert (
            page.evaluate("caught(() => loader.runKernel('swiglu_f32', { a: numbers(1), b: numbers(1), params: {} }))")[
                "code"
            ]
            == "kernel_parameters"
        )
        found = page.evaluate(
            "(trust) => caught(() => loader.addKernels('acme/', { trust }))", kernel_pack.trust_document()
        )
        assert found["code"] == "not_supported", found


def test_the_snippets_of_the_kernels_page_run_as_printed(sdk, tmp_path):
    """The page's C, description and both scripts."""
    from tools.steps import wasm

    text = (ROOT / "docs" / "kernels.md").read_text(encoding="utf-8")
    code, described = re.findall(r"<<'END'\n(.*?)\nEND", text, re.S)
    (tmp_path / "scale_f32.c").write_text(code)
    module = wasm.compile_c(
        [tmp_path / "scale_f32.c"], tmp_path / "scale_f32.wasm", (f"-I{ROOT / 'wasm' / 'ext'}",)
    ).read_bytes()
    folder = write(tmp_path / "my-pack", json.loads(described), {"scale_f32": module})
    sdk.context.route(
        "**/my-pack/*", lambda route: route.fulfill(body=(folder / route.request.url.rsplit("/", 1)[1]).read_bytes())
    )
    sdk.context.route("**/publisher.json", lambda route: route.fulfill(json=kernel_pack.trust_document()["keys"][0]))
    script = "\n".join(re.findall(r"```js\n(.*?)```", text, re.S)).replace(
        'import { ModelLoader } from "./edgenet.js"', "const { ModelLoader } = edgenet"
    )
    printed = sdk.evaluate(
        f"async () => {{ const printed = [], console = {{ log: (value) => printed.push(value) }}; {script}; return printed; }}"
    )
    assert set(printed[0]) == {"lora_apply_f32", "rmsnorm_f32", "swiglu_f32"}
    assert printed[1] == pytest.approx([0, 1.4621171, -0.7152175], abs=1e-6) and printed[2] == [2, 4, 6]
