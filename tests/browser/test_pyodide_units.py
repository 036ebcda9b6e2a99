"""The same unit tests in CPython and inside Pyodide: every test has the same outcome in both,
but for those that are named.

Left out: what needs onnxruntime, wasmtime, files of this machine or the command line, none of which exist in a browser.
"""

import json
import subprocess
import sys

import pytest

from tests.browser.hosting import blank
from tools.paths import CACHE, ROOT

pytestmark = pytest.mark.browser
FILES = [
    "test_canonical",
    "test_cid",
    "test_errors",
    "test_integrity",
    "test_manifest",
    "test_trust",
    "test_microlora",
    "test_scoped",
    "test_trajectory",
    "test_teach",
    "test_split",
    "test_kernel_calls",
    "test_lm_gradients",
    "test_graph",
    "test_graph_runs",
    "test_graph_gradients",
    "test_program_judge",
    "test_gguf",
    "test_gguf_split",
    "test_gguf_write",
    "test_gguf_info",
    "test_gguf_lies",
    "test_blocks",
    "test_lora_merge",
    "test_lora_merge_adapters",
    "test_lora_merge_peft",
    "test_lora_config",
    "test_lora_data",
    "test_lora_schedule",
    "test_lora_checkpoint",
    "test_lora_trainer",
    "test_lora_trainer_stops",
    "test_lora_adapter",
    "test_lora_peft",
    "test_lora_safetensors",
    "test_lora_document",
    "test_lora_gguf",
    "test_lora_signature",
    "test_lora_pool",
    "test_lora_routing",
    "test_lora_routing_vectors",
    "test_browser_adapters",
    "test_plot",
    "test_browser_train",
    "test_browser_tokens",
    "test_browser_library",
    "test_browser_into_base",
]
NOT_THERE = {  # test: what a browser lacks for it
    "tests/unit/test_graph.py::test_compiling_imports_no_numpy": "a second process",
    "tests/unit/test_program_judge.py::test_the_schema_describes_good_programs_and_nothing_else": "jsonschema",
    "tests/unit/test_lora_data.py::test_a_pair_goes_through_the_chat_template_and_only_the_answer_and_its_end_count": "jinja2",
    "tests/unit/test_lora_data.py::test_an_answer_without_a_character_is_no_example[chat-]": "jinja2",
    r"tests/unit/test_lora_data.py::test_an_answer_without_a_character_is_no_example[chat- \n]": "jinja2",
    **{
        f"tests/unit/test_browser_tokens.py::test_the_workers_tokenizer_gives_what_one_here_would[template-{what}]": "jinja2"
        for what in ("a text", "a pair", "lines of a file", "a file")
    },
    "tests/unit/test_lora_trainer_stops.py::test_nothing_runs_while_training_is_paused": "an event loop to start",
}
PURE = ["pytest", "pluggy", "iniconfig", "packaging", "pygments"]  # wheels that pytest itself needs
HELPERS = [
    *(f"tests/unit/{name}.py" for name in ("conftest", "ordinary", "embedding", "graph_models")),
    *(
        f"tests/unit/{name}.py"
        for name in ("lora_runs", "small_model_runs", "training_runs", "small_adapters", "played_page")
    ),
    *(f"tools/{name}.py" for name in ("__init__", "gguf_file", "oracles/__init__", "oracles/small_models")),
    *(f"tools/oracles/{name}.py" for name in ("small_blocks", "small_adapters", "lora_batch", "lora_course")),
]

# Runs pytest in this interpreter and prints {test: outcome}; one text for both hosts.
RUNNER = """
import json, os, sys
os.chdir(ROOT)
sys.path.insert(0, ROOT)
sys.dont_write_bytecode = True
import pytest

class Outcomes:
    seen = {}
    def pytest_runtest_logreport(self, report):
        if report.when == "call" or report.outcome != "passed":
            self.seen[report.nodeid] = report.outcome
            if report.failed:
                print(report.longreprtext[-2000:])

status = pytest.main(["-q", "-p", "no:cacheprovider", "-p", "no:faulthandler", "--no-header", *FILES], plugins=[Outcomes()])
result = json.dumps({"status": int(status), "outcomes": Outcomes.seen})
"""
RUN = """async ({ code, files }) => {
  const { ModelLoader } = await import("./edgenet.js");
  const loader = new ModelLoader({ testing: { runCode: true } }), bytes = {}, said = [];
  for (const [path, url] of files) bytes[path] = new Uint8Array(await (await fetch(url)).arrayBuffer());
  try { return { result: await loader.ask("python.run", { code, files: bytes }, { onEvent: (e) => e.text && said.push(e.text) }), said }; }
  catch (e) { return { error: e.message, said }; }
}"""


def runner(root):
    return f"ROOT = {str(root)!r}\nFILES = {[f'tests/unit/{name}.py' for name in FILES]!r}\n" + RUNNER


def in_cpython():
    command = [sys.executable, "-c", runner(ROOT) + "\nprint('\\n' + result)"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'pysrc'}", "PATH": "/usr/bin:/bin"},
    )
    return json.loads(done.stdout.strip().splitlines()[-1])


def wheel(name):
    found = sorted((CACHE / "wheels").glob(f"{name}-*-py3-none-any.whl"))
    assert found, f"no wheel of {name} in {CACHE / 'wheels'}: run python build.py setup --test"
    return found[-1]


def shipped():
    """{path in Pyodide: path here} of the tests, their helpers and vectors, and pytest's wheels."""
    names = [f"tests/unit/{name}.py" for name in FILES] + HELPERS + ["pyproject.toml"]
    names += [
        str(p.relative_to(ROOT))
        for p in [*ROOT.glob("tests/*.py"), *ROOT.glob("tests/vectors/**/*.json"), *ROOT.glob("manifests/**/*.json")]
    ]
    return {f"/edgenet/{n}": ROOT / n for n in names} | {wheel(n).name: wheel(n) for n in PURE}


def in_pyodide(page, url):
    files = shipped()
    page.route(
        "**/shipped/**",
        lambda route: route.fulfill(path=files[route.request.url.split("/shipped/")[1].replace("@", "/")]),
    )
    blank(page, url)
    names = [[name, "shipped/" + name.replace("/", "@")] for name in files]
    answer = page.evaluate(RUN, {"code": runner("/edgenet") + "\nresult", "files": names})
    assert "error" not in answer, (answer["error"][-3000:], answer["said"][-30:])
    found = json.loads(answer["result"])
    assert found["status"] == 0, "\n".join(answer["said"][-60:])
    return found


def test_every_unit_test_has_the_same_outcome_in_cpython_and_in_pyodide(page, site):
    native, browser = in_cpython(), in_pyodide(page, site())
    counts = {
        name: sum(o == "passed" for o in found["outcomes"].values())
        for name, found in [("CPython", native), ("Pyodide", browser)]
    }
    print(f"\nunit tests passed: {counts['CPython']} in CPython, {counts['Pyodide']} in Pyodide")
    assert {native["outcomes"][name] for name in NOT_THERE} == {"passed"}
    assert browser["outcomes"] == native["outcomes"] | dict.fromkeys(NOT_THERE, "skipped")
    assert counts["CPython"] - len(NOT_THERE) == counts["Pyodide"] > 100
