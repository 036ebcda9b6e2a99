"""`adapters merge`: what it writes and tells, what it refuses; the commands and the lines of `docs/merging.md`. CPython."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgenet.host.files import Disk
from edgenet.lora import peft
from edgenet.lora.adapter import Adapter, base_id
from edgenet.lora.config import LoraConfig
from edgenet.lora.merge import merge
from edgenet.lora.names import places
from edgenet.lora.strategies import MergeOptions
from tests.unit.cli_site import Cli
from tests.unit.small_model_runs import header_of, opened

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "merging.md").read_text(encoding="utf-8")


def adapter(name, seed, base="qwen2", rank=4, modules="q_proj|v_proj"):
    header, rng, tensors = opened(base, "q8_0").header, np.random.default_rng(seed), {}
    for path, (place,) in places(header).items():
        if re.search(modules, path):
            shapes = ((rank, place.width), (place.rows, rank))
            tensors[path] = tuple(0.2 * rng.standard_normal(shape).astype(np.float32) for shape in shapes)
    return Adapter(LoraConfig(r=rank), tensors, name, base_id(header), family=header.architecture)


def read(folder):
    return peft.read({path.name: path.read_bytes() for path in folder.iterdir()}, folder.name)


@pytest.fixture
def work(tmp_path):
    """A folder with the adapters `poems`, `recipes` (another rank and modules) and `foreign`, and their base."""
    made = (adapter("poems", 1), adapter("recipes", 2, rank=2, modules="q_proj"), adapter("foreign", 3, "llama"))
    for one in made:
        (tmp_path / one.name).mkdir()
        for name, data in peft.write(one).items():
            (tmp_path / one.name / name).write_bytes(data)
    (tmp_path / "base.gguf").write_bytes(opened("qwen2", "q8_0").data)
    return tmp_path


@pytest.fixture
def run(work, monkeypatch):
    monkeypatch.chdir(work)
    cli = Cli(work / "home")
    return lambda *args: cli("adapters", "merge", *args)


def test_the_new_adapter_is_what_the_library_makes(work, run):
    done = run(
        "poems", "recipes", "--strategy", "ties", "--density", "0.3", "--weights", "2,1", "--output", "out", "--json"
    )
    wanted = asyncio.run(
        merge([read(work / "poems"), read(work / "recipes")], MergeOptions("ties", (2.0, 1.0), density=0.3))
    )
    assert done.code == 0 and done.data == {"path": "out", **wanted.report}
    assert read(work / "out").checksum == wanted.adapter.checksum


SPELLINGS = [
    ("--method for --strategy", ["--method", "ties"], ["--strategy", "ties"]),
    ("dare alone: its means are plain ones", ["--strategy", "dare"], ["--strategy", "dare_linear"]),
]


@pytest.mark.parametrize(("title", "short", "whole"), SPELLINGS, ids=[row[0] for row in SPELLINGS])
def test_other_spellings_mean_the_same(work, run, title, short, whole):
    one, other = (run("poems", "recipes", *how, "--output", f"out{how is short}", "--json") for how in (short, whole))
    assert one.data == other.data | {"path": "outTrue"}


def test_it_says_in_words_what_was_left_out(run):
    done = run("poems", "recipes", "--rank", "3", "--output", "out", "--name", "both")
    assert re.search(r"Rank 3 leaves out \d+\.\d\d% of the merged change\. 'both' is in out\.", done.out)
    assert "model.layers.0.self_attn.q_proj" in done.out and "Merging" in done.err


def test_into_the_base_nothing_is_left_out_but_by_quantising(work, run):
    before = (work / "base.gguf").read_bytes()
    done = run("poems", "recipes", "--into", "base.gguf", "--type", "f32", "--output", "new.gguf", "--json")
    new, old = (work / "new.gguf").read_bytes(), opened("qwen2", "q8_0")
    assert done.data["error"] < 1e-6 and done.data["into"]["error"] < 1e-5 and done.data["into"]["bytes"] == len(new)
    header = header_of(new)
    assert header.tensors["blk.0.attn_q.weight"].type == "f32" and header.tensors["blk.0.attn_k.weight"].type == "q8_0"
    assert header.metadata["general.finetune"] == "poems + recipes (weighted)"
    assert (work / "base.gguf").read_bytes() == before == old.data


def test_what_rounding_costs_is_told_with_the_base_s_own_share_where_its_type_changes(run):
    as_it_is = run("poems", "--into", "base.gguf", "--output", "same.gguf")
    assert re.search(r"Rounding is \d+\.\d\d% of what the adapter changes\. same\.gguf has", as_it_is.out)
    narrower = run("poems", "--into", "base.gguf", "--type", "q4_0", "--output", "new.gguf")
    assert re.search(
        r"Rounding is [\d.]+% of what the adapter changes, with that of the base's own weights, which", narrower.out
    )
    assert "were q8_0 and are q4_0 now" in narrower.out


def test_one_adapter_goes_into_the_base_as_it_is(work, run):
    done = run("poems", "--into", "base.gguf", "--output", "new.gguf", "--json")
    assert (
        header_of((work / "new.gguf").read_bytes()).metadata["edgenet.adapter.checksum"]
        == read(work / "poems").checksum
    )
    assert [row["to"] for row in done.data["into"]["tensors"]] == ["q8_0"] * 4


def test_kept_adapters_are_merged_by_name(work, run):
    wanted = read(work / "poems").checksum
    assert Cli(work / "home")("adapters", "import", "poems").code == 0
    shutil.rmtree(work / "poems")
    assert run("poems", "poems", "--output", "out").code == 0 and read(work / "out").checksum == wanted


def test_a_folder_with_an_adapter_is_not_written_over(work, run):
    done = run("poems", "recipes", "--output", "recipes", "--json")
    assert (done.code, done.data["error"]["code"]) == (8, "adapter_exists")


REFUSED = [
    ("a strategy nobody knows", ["poems", "recipes", "--strategy", "magic"], 8, "invalid_option"),
    ("weights that are no numbers", ["poems", "recipes", "--weights", "a,b"], 8, "invalid_option"),
    ("a weight too few", ["poems", "recipes", "--weights", "1"], 8, "invalid_option"),
    ("an option without use", ["poems", "recipes", "--density", "0.3"], 8, "invalid_option"),
    ("slerp of three", ["poems", "poems", "recipes", "--strategy", "slerp"], 8, "invalid_option"),
    ("another base", ["poems", "foreign"], 8, "adapter_mismatch"),
    ("another base to merge into", ["foreign", "--into", "base.gguf"], 8, "adapter_mismatch"),
    ("a type without a base", ["poems", "--type", "q8_0"], 8, "invalid_option"),
    ("a type that is not written", ["poems", "--into", "base.gguf", "--type", "q4_k"], 7, "tensor_type_unsupported"),
    ("texts that are not there", ["poems", "--into", "base.gguf", "--evaluate", "none.txt"], 8, "invalid_option"),
    ("a base that is not there", ["poems", "--into", "none.gguf"], 3, "model_not_found"),
    ("an adapter that is not there", ["poems", "none"], 3, "adapter_not_found"),
]


@pytest.mark.parametrize(("title", "args", "status", "code"), REFUSED, ids=[row[0] for row in REFUSED])
def test_what_cannot_be_merged_is_named_and_nothing_is_written(work, run, title, args, status, code):
    done = run(*args, "--output", "out", "--json")
    assert (done.code, done.data["error"]["code"]) == (status, code)
    assert not (work / "out").exists()


def test_the_base_is_never_written_over(work, run):
    done = run("poems", "--into", "base.gguf", "--output", "./base.gguf", "--json")
    assert (done.code, done.data["error"]["code"]) == (8, "invalid_option")


def test_a_model_that_is_there_is_not_written_over(work, run):
    (work / "new.gguf").write_bytes(b"somebody's model")
    done = run("poems", "--into", "base.gguf", "--output", "new.gguf", "--json")
    assert (done.code, done.data["error"]["code"]) == (8, "invalid_option") and "remove it first" in done.err
    assert (work / "new.gguf").read_bytes() == b"somebody's model"


class StoppedDisk(Disk):
    """Ctrl-C comes when the fifth piece is to be written."""

    pieces = 0

    def _put(self, handle, data):
        self.pieces += 1
        if self.pieces == 5:
            raise KeyboardInterrupt
        super()._put(handle, data)


def test_of_a_model_whose_writing_is_stopped_nothing_is_left(work):
    cli, before = Cli(work / "home"), set(work.iterdir())
    cli.disk = StoppedDisk()
    done = cli(
        "adapters", "merge", str(work / "poems"), "--into", str(work / "base.gguf"), "--output", str(work / "new.gguf")
    )
    assert done.code == 130 and set(work.iterdir()) == before and cli.disk.pieces == 5


@pytest.mark.skipif(os.name != "posix", reason="the page's blocks are for sh")
def test_the_commands_and_lines_of_the_page_run_as_they_stand(work):
    (work / "bin").mkdir()
    for name, what in {"edge-net-models": "-m edgenet.cli", "python": ""}.items():
        (work / "bin" / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {what} "$@"\n')
        (work / "bin" / name).chmod(0o755)
    path = f"{work / 'bin'}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PYTHONPATH": str(ROOT / "pysrc"), "HOME": str(work), "PATH": path}
    script = "set -eu\n" + "".join(re.findall(r"```sh\n(.*?)```", PAGE, re.S))
    snippet = "".join(re.findall(r"```python\n(.*?)```", PAGE, re.S))
    for command in (["sh", "-c", script], [sys.executable, "-c", snippet]):
        done = subprocess.run(command, cwd=work, env=env, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert re.fullmatch(r"poems \+ recipes \(slerp\): rank 4 leaves out \d+\.\d%\n", done.stdout)
    assert header_of((work / "both.gguf").read_bytes()).metadata["general.finetune"].startswith("poems + recipes")


def test_the_strategies_and_defaults_of_the_page_are_those_of_the_program():
    from edgenet.lora.strategies import STRATEGIES

    rows = dict(re.findall(r"^\| `(\w+)`[^|]*\|.*\| ([\w, ]*)\|$", PAGE, re.M))
    assert {name: tuple(filter(None, uses.strip().split(", "))) for name, uses in rows.items()} == {
        name: strategy.uses for name, strategy in STRATEGIES.items()
    }
    defaults = dict(re.findall(r"^\| (\w+) \| [^|]+ \| ([^|]+) \|", PAGE, re.M))
    assert {name: float(defaults[name]) for name in ("interpolation", "density", "scaling", "seed")} == {
        name: getattr(MergeOptions(), name) for name in ("interpolation", "density", "scaling", "seed")
    }
    assert defaults["majority_sign_method"] == f"`{MergeOptions().majority_sign_method}`"


def test_the_loss_before_and_after_is_that_of_the_base_and_of_the_base_with_the_adapter(work, run):
    (work / "notes.txt").write_text("hello, this is a text of some words. " * 4)
    done = run(
        "poems", "--into", "base.gguf", "--type", "f32", "--evaluate", "notes.txt", "--output", "new.gguf", "--json"
    )
    assert done.code == 0, done.err
    before, after = (row["loss"] for row in done.data["evaluation"])
    apart = Cli(work / "home")("eval", "base.gguf", "notes.txt", "--adapter", "poems", "--json").data
    assert before == apart["loss"] and after == pytest.approx(apart["adapter"]["loss"], rel=0.01)
    assert abs(after - before) > 0.02 * before
