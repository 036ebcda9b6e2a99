"""The tests beside PyTorch, transformers and PEFT, run by a Python that has these (bench/peers/torch), with all other packages of this one.

CPython. Tests of llama.cpp's own answers need llama-cpp-python too, which is built from source: where it is not, they are skipped and said.
"""

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

from bench.peers.torch import install
from tools.paths import ROOT, WORK

NEEDED = ("torch", "transformers", "peft")
FILES = (
    "tests/unit/test_lora_oracle.py",
    "tests/unit/test_lora_adapter_oracles.py",
    "tests/unit/test_lora_merge_peft.py",
    "tests/unit/test_models_oracles.py",
    "tests/unit/test_lm_training.py::test_the_steps_kept_here_are_those_torch_takes_now",
    "tests/unit/test_chat.py::test_the_stored_prompts_are_what_transformers_says_today",
    "tests/unit/test_codemodel_export.py",
    "tests/browser/test_training_peft.py",
)
FIND = """
import importlib.util, json, os, sys
found = {name: importlib.util.find_spec(name) for name in sys.argv[1:]}
places = dict.fromkeys(os.path.dirname(spec.submodule_search_locations[0]) for spec in found.values() if spec)
print(json.dumps(["{}.{}".format(*sys.version_info), [name for name in found if not found[name]], list(places)]))
"""
BOTH = WORK / "peers" / "native-tests"


def run(rest=()) -> int | str:
    """pytest's exit status, or why they cannot be run."""
    python, why = install.find()
    places, why = ([], why) if why else packages(python)
    if why:
        return why
    return subprocess.call([layered(places), "-m", "pytest", *FILES, "--long", "-rs", "--durations=8", *rest], cwd=ROOT)


def packages(python) -> tuple[list[str], str]:
    """(the folders where this Python has them, why it cannot run the tests)."""
    try:
        done = subprocess.run([python, "-c", FIND, *NEEDED], capture_output=True, text=True)
    except OSError as error:
        return [], f"{python} does not run: {error.strerror}."
    if done.returncode:
        return [], f"{python} does not run: {done.stderr.strip()[-200:]}"
    version, missing, places = json.loads(done.stdout)
    if missing:
        return [], f"{python} has no {', '.join(missing)}."
    own = "{}.{}".format(*sys.version_info)
    return places, "" if version == own else f"{python} is Python {version}; the tests' other packages are of {own}."


def layered(places: list[str]):
    """A Python that has the packages in these folders, and after them those of this one; so have the processes that it starts."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--clear", BOTH], check=True)
    folder = Path(sysconfig.get_path("purelib", "venv", {"base": str(BOTH), "platbase": str(BOTH)}))
    (folder / "layers.pth").write_text("\n".join([*places, sysconfig.get_path("purelib")]) + "\n")
    return BOTH / "bin" / "python"
