"""`train` and `eval` of the CLI on a small GGUF file of random weights. CPython."""

import errno
import itertools
import json
import math
import re
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from edgenet.cli import training
from edgenet.host.files import Disk, storage_error
from edgenet.lora import document, gguf, peft, trainer
from edgenet.lora.adapter import base_id
from tests.adapters import random_adapter
from tests.unit.cli_site import Cli
from tests.unit.small_model_runs import opened

FEW = (
    "--steps",
    "6",
    "--length",
    "16",
    "--batch",
    "2",
    "--evaluate-every",
    "3",
    "--checkpoint-every",
    "2",
    "--rank",
    "2",
    "--lr",
    "0.01",
)


@pytest.fixture
def cli(tmp_path):
    return Cli(tmp_path / "home")


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "small.gguf"
    path.write_bytes(opened("qwen2", "q8_0").data)
    return str(path)


@pytest.fixture
def notes(tmp_path):
    """A folder with two texts and a file of pairs."""
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "a.md").write_text("The boiler is serviced every October.\n" * 5)
    (folder / "b.py").write_text("def boil(water):\n    return water.heat(100)\n")
    (folder / "pairs.jsonl").write_text(json.dumps({"input": "Hi", "output": "Yo"}) + "\n")
    return str(folder)


def test_training_writes_an_adapter_that_evaluation_finds_better(cli, model, notes, tmp_path):
    out = tmp_path / "mine"
    done = cli("train", model, notes, "--output", str(out), *FEW, "--json")
    data = done.data
    assert (data["steps"], data["reason"], data["name"]) == (6, "steps", "mine") and len(data["losses"]) == 6
    assert data["lossAfter"] < data["lossBefore"] and [v["step"] for v in data["validation"]] == [0, 3, 6]
    assert sorted(p.name for p in out.iterdir()) == [peft.CONFIG, peft.WEIGHTS]  # the checkpoint has done its work
    measured = cli("eval", model, notes, "--adapter", str(out), "--json").data
    assert measured["adapter"]["loss"] < measured["loss"]
    assert measured["bitsPerByte"] > measured["adapter"]["bitsPerByte"] > 0 and measured["perplexity"] > 1


def test_the_document_of_a_trained_adapter_tells_what_the_format_has(cli, model, notes, tmp_path):
    data = cli("train", model, notes, "--output", str(tmp_path / "mine"), *FEW, "--json").data
    cli("adapters", "import", str(tmp_path / "mine"))
    assert cli("adapters", "export", "mine", "--output", str(tmp_path / "mine.json")).code == 0
    told = json.loads((tmp_path / "mine.json").read_text())
    assert told["createdAt"].endswith("Z") and (told["version"], told["training"]["steps"]) == ("1.0.0", 6)
    gained = math.exp(data["lossAfter"]) - math.exp(data["lossBefore"])
    assert told["quality"]["perplexityDelta"] == pytest.approx(gained) and gained < 0


def test_people_are_told_what_happens(cli, model, notes, tmp_path):
    done = cli("train", model, notes, "--output", str(tmp_path / "mine"), *FEW)
    assert "step 3: validation loss" in done.err and "were split" in done.err
    assert "6 steps; validation loss" in done.out and "The adapter mine" in done.out
    assert "little text" not in done.err, "all steps are taken"
    table = cli("eval", model, notes, "--adapter", str(tmp_path / "mine")).out.splitlines()
    assert "bits per byte" in table[0] and table[1].startswith("the model") and table[2].startswith("mine")


def test_what_preparing_says_is_in_the_json_too_by_codes_that_the_docs_list(cli, model, notes, tmp_path):
    (tmp_path / "mixed").mkdir()
    (tmp_path / "mixed" / "broken.txt").write_bytes(b"a text " * 60 + b"\xff and more\n")
    (tmp_path / "mixed" / "photo.png").write_bytes(b"\0\1")
    done = cli(
        "train",
        model,
        str(tmp_path / "mixed"),
        "--output",
        str(tmp_path / "mine"),
        *FEW,
        "--steps",
        "99",
        "--epochs",
        "1",
        "--json",
    )
    notices = {notice["code"]: notice["message"] for notice in done.data["notices"]}
    assert {"not_text", "text_repaired", "texts_split", "course_shortened"} <= set(notices)
    assert "photo.png" in notices["not_text"] and "broken.txt" in notices["text_repaired"]
    listed = (Path(__file__).parents[2] / "docs" / "training.md").read_text("utf-8")
    assert all(f"| `{code}` |" in listed for code in set(notices) - {"not_text"}), "an error's code is the error's"


def test_people_are_told_that_little_text_is_learned_in_fewer_steps(cli, model, notes, tmp_path):
    done = cli("train", model, notes, "--output", str(tmp_path / "mine"), *FEW, "--steps", "99", "--epochs", "1")
    (steps,) = re.findall(r"notice: There is little text: training takes (\d+) of 99 steps", done.err)
    assert int(steps) < 99 and f"{steps} steps; validation loss" in done.out


def test_ctrl_c_keeps_a_checkpoint_from_which_training_ends_the_same(cli, model, notes, tmp_path, monkeypatch):
    whole = cli("train", model, notes, "--output", str(tmp_path / "whole"), "--name", "one", *FEW)
    shown, step = [], training.Report._step

    def interrupted(self, event, show):
        step(self, event, show)
        shown.append(event["step"])
        if len(shown) == 3:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(training.Report, "_step", interrupted)
    part = ("train", model, notes, "--output", str(tmp_path / "part"), "--name", "one", *FEW)
    stopped = cli(*part)
    assert stopped.code == 130 and "--resume" in stopped.err and shown == [1, 2, 3]
    assert cli(*part, "--json").data["error"]["code"] == "adapter_exists"  # by mistake nothing is thrown away
    resumed = cli(*part, "--resume")
    assert (whole.code, resumed.code, shown) == (0, 0, [1, 2, 3, 4, 5, 6])
    assert "Training: 6 steps\n" in whole.err and "Training: 6 steps, 3 steps here already\n" in resumed.err
    lasting = [re.search(r"([\d.]+) after", done.out)[1] for done in (whole, resumed)]
    assert lasting[0] == lasting[1] and " before, " in whole.out and "before" not in resumed.out
    one, other = ((tmp_path / name / peft.WEIGHTS).read_bytes() for name in ("whole", "part"))
    assert one == other


@pytest.fixture
def diverging(monkeypatch):
    """Training whose fourth step has a loss that is no number."""
    steps, losses = [], trainer.losses

    async def failing(engine, row, program):
        steps.extend([1] if program == "train" else [])
        return float("nan") if len(steps) == 4 else await losses(engine, row, program)

    monkeypatch.setattr(trainer, "losses", failing)


def test_of_a_training_that_diverges_the_adapter_of_the_last_good_state_is_written(
    cli, model, notes, tmp_path, diverging
):
    out = tmp_path / "mine"
    done = cli("train", model, notes, "--output", str(out), *FEW, "--json")
    error = done.data["error"]
    assert (done.code, error["code"], error["details"]["step"]) == (7, "training_diverged", 4)
    assert f"The adapter of step 3 is in {out}." in error["message"] and done.data["reason"] == "diverged"
    assert sorted(p.name for p in out.iterdir()) == [peft.CONFIG, peft.WEIGHTS]
    measured = cli("eval", model, notes, "--adapter", str(out), "--json").data
    assert measured["adapter"]["loss"] < measured["loss"]


def test_of_a_training_that_diverges_before_anything_was_learned_nothing_is_left(
    cli, model, notes, tmp_path, diverging
):
    late = ("--evaluate-every", "5", "--checkpoint-every", "5")
    done = cli("train", model, notes, "--output", str(tmp_path / "mine"), *FEW, *late, "--json")
    assert done.data["error"]["code"] == "training_diverged" and "nothing was learned" in done.err
    assert not (tmp_path / "mine").exists()


def test_people_are_told_of_a_course_that_learned_nothing(cli, model, notes, tmp_path, monkeypatch):
    losses, factors = trainer.losses, itertools.count(1)

    async def worsening(engine, row, program):
        return await losses(engine, row, program) * (next(factors) if program == "evaluate" else 1)

    monkeypatch.setattr(trainer, "losses", worsening)
    done = cli("train", model, notes, "--output", str(tmp_path / "mine"), *FEW, "--json")
    assert [notice["code"] for notice in done.data["notices"]] == ["texts_split", "nothing_learned"]
    assert "notice: No validation was better than" in done.err


class Full(Disk):
    """No room for files whose names have one of these in them."""

    def __init__(self, *names):
        self.names = names

    def writing(self, path, mode=0o644):
        if any(name in Path(path).name for name in self.names):
            raise storage_error(OSError(errno.ENOSPC, "No space left on device"), path, "write")
        return super().writing(path, mode)


def test_a_checkpoint_that_finds_no_room_ends_no_training(cli, model, notes, tmp_path):
    cli.disk = Full(training.CHECKPOINT)
    done = cli("train", model, notes, "--output", str(tmp_path / "mine"), *FEW, "--json")
    assert done.code == 0 and done.data["steps"] == 6
    assert {notice["code"] for notice in done.data["notices"]} == {"texts_split", "quota_exceeded"}
    assert "notice: There is no room" in done.err and "Training goes on" in done.err
    assert sorted(p.name for p in (tmp_path / "mine").iterdir()) == [peft.CONFIG, peft.WEIGHTS]


def test_who_stops_a_training_whose_checkpoints_find_no_room_is_told_what_is_kept(
    cli, model, notes, tmp_path, monkeypatch
):
    step = training.Report._step
    monkeypatch.setattr(training.Report, "_step", lambda *args: (step(*args), signal.raise_signal(signal.SIGINT)))
    cli.disk = Full(training.CHECKPOINT)
    done = cli("train", model, notes, "--output", str(tmp_path / "mine"), *FEW, "--json")
    assert (done.code, done.data["error"]["code"]) == (6, "quota_exceeded")
    assert "step 1" in done.data["error"]["message"] and "a checkpoint is kept" not in done.err
    assert "--resume" not in done.data["error"]["message"], "there is nothing to go on from"


def test_who_stops_a_training_before_its_first_step_is_promised_no_checkpoint(cli, model, notes, tmp_path, monkeypatch):
    monkeypatch.setattr(training.Report, "_validation", lambda *args: signal.raise_signal(signal.SIGINT))
    done = cli("train", model, notes, "--output", str(tmp_path / "mine"), *FEW)
    assert done.code == 130 and "nothing is kept" in done.err and not (tmp_path / "mine").exists()


def test_an_adapter_that_finds_no_room_is_told_with_advice_for_its_place_and_training_can_be_taken_up_again(
    cli, model, notes, tmp_path
):
    words = ("train", model, notes, "--output", str(tmp_path / "mine"), *FEW)
    cli.disk = Full("adapter_")
    error = cli(*words, "--json").data["error"]
    assert error["code"] == "quota_exceeded" and "--output" in error["message"] and "cache" not in error["message"]
    assert "--resume" in error["message"]
    cli.disk = None
    resumed = cli(*words, "--resume", "--json")
    assert resumed.code == 0 and resumed.data["losses"] == [] and (tmp_path / "mine" / peft.WEIGHTS).exists()


def test_a_checkpoint_of_other_options_says_what_to_do(cli, model, notes, tmp_path, monkeypatch):
    step = training.Report._step
    monkeypatch.setattr(training.Report, "_step", lambda *args: (step(*args), signal.raise_signal(signal.SIGINT)))
    part = ("train", model, notes, "--output", str(tmp_path / "part"), *FEW)
    assert cli(*part).code == 130
    error = cli(*part, "--resume", "--lr", "0.001", "--json").data["error"]
    assert (
        error["code"] == "checkpoint_mismatch" and "another --output" in error["message"] and "--lr" in error["message"]
    )


FAILURES = {
    "patience without validation": (("MODEL", "NOTES", "--patience", "2", "--validation", "0"), "invalid_option"),
    "a model that is not there": (("none.gguf", "NOTES"), "model_not_found"),
    "no text": (("MODEL", "EMPTY"), "empty_text"),
    "an encoder": (("ENCODER", "NOTES"), "not_supported"),
    "a rank of 0": (("MODEL", "NOTES", "--rank", "0"), "rank_invalid"),
    "a module of no model": (("MODEL", "NOTES", "--modules", "q,z"), "target_module_unknown"),
    "a preset of no name": (("MODEL", "NOTES", "--preset", "poet"), "invalid_option"),
    "a mask where the model has none": (("MODEL", "NOTES", "--objective", "masked"), "no_mask_token"),
    "a dropout of 1": (("MODEL", "NOTES", "--dropout", "1"), "invalid_option"),
    "a broken line": (("MODEL", "BROKEN"), "not_text"),
    "a pair longer than a row": (("MODEL", "NOTES", "--length", "8"), "example_too_long"),
    "rows longer than the context": (("MODEL", "NOTES", "--length", "200"), "invalid_option"),
}


@pytest.mark.parametrize("title", FAILURES)
def test_failures_are_named(cli, model, notes, tmp_path, title):
    words, code = FAILURES[title]
    (tmp_path / "encoder.gguf").write_bytes(opened("bert", "q8_0").data)
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.jsonl").write_text('{"input": "only"}\n')
    (tmp_path / "notes" / "pairs.jsonl").write_text(json.dumps({"input": "Who?", "output": "You and me."}) + "\n")
    places = {"MODEL": model, "NOTES": notes, "ENCODER": str(tmp_path / "encoder.gguf"), "EMPTY": str(tmp_path / "empty"),
              "BROKEN": str(tmp_path / "broken.jsonl")}  # fmt: skip
    words = (
        words if "--length" in words else (*words, "--length", "64")
    )  # the preset's is longer than this model's context
    done = cli("train", *(places.get(w, w) for w in words), "--output", str(tmp_path / "mine"), "--json")
    assert done.data["error"]["code"] == code and not (tmp_path / "mine").exists()


def test_an_adapter_is_never_written_over(cli, model, notes, tmp_path):
    (tmp_path / peft.CONFIG).write_text("{}")
    done = cli("train", model, notes, "--output", str(tmp_path), "--json")
    assert done.data["error"]["code"] == "adapter_exists"


def test_evaluating_with_what_is_no_adapter_is_named(cli, model, notes):
    assert cli("eval", model, notes, "--adapter", notes, "--json").data["error"]["code"] == "adapter_not_found"


@pytest.fixture
def adapter():
    header = opened("qwen2", "q8_0").header
    return replace(random_adapter(header, "letters"), base_id=base_id(header), family=header.architecture)


def test_evaluating_takes_an_adapter_of_every_format(cli, model, notes, adapter, tmp_path):
    (tmp_path / "a.json").write_bytes(document.write(adapter))
    (tmp_path / "a.gguf").write_bytes(b"".join(gguf.write(adapter, opened("qwen2", "q8_0").header)))
    one, other = (
        cli("eval", model, notes, "--adapter", str(tmp_path / f"a.{end}"), "--json") for end in ("json", "gguf")
    )
    assert one.data["adapter"]["loss"] == pytest.approx(other.data["adapter"]["loss"]) != one.data["loss"]


def test_evaluating_tells_of_an_adapter_that_was_trained_on_another_file_of_the_model(
    cli, model, notes, adapter, tmp_path
):
    (tmp_path / "a.json").write_bytes(document.write(replace(adapter, base_sha256="0" * 64)))
    done = cli("eval", model, notes, "--adapter", str(tmp_path / "a.json"), "--json")
    assert [notice["code"] for notice in done.data["notices"]] == ["adapter_other_file"]
    assert cli("eval", model, notes, "--json").data["notices"] == []


def test_evaluating_refuses_a_signature_as_every_other_command_does(cli, model, notes, adapter, tmp_path):
    (tmp_path / "a.json").write_bytes(document.write(adapter))
    cli("keys", "generate")
    cli("adapters", "import", str(tmp_path / "a.json"))
    cli("adapters", "export", "letters", "--output", str(tmp_path / "signed.json"), "--sign")
    (tmp_path / "entry.json").write_text(cli("keys", "show").out)
    cli("keys", "trust", str(tmp_path / "entry.json"))
    signed = json.loads((tmp_path / "signed.json").read_text())
    (tmp_path / "signed.json").write_text(json.dumps(signed | {"alpha": 400}))
    done = cli("eval", model, notes, "--adapter", str(tmp_path / "signed.json"), "--json")
    assert (done.code, done.data["error"]["code"]) == (4, "signature_invalid")
