"""`adapters describe` and `run --adapter auto` with a tiny embedding model: where a prompt goes, and why nowhere. CPython only."""

from dataclasses import replace

import numpy as np
import pytest

from edgenet.lora import peft
from edgenet.lora.adapter import base_id
from edgenet.lora.routing import THRESHOLD
from tests.adapters import random_adapter
from tests.unit import tiny_model
from tests.unit.cli_site import Cli
from tests.unit.small_model_runs import opened

EMBEDDING = "minilm-l6-v2-q8"
TEXTS = {
    "house": ["The boiler in the cellar is serviced every october", "The spare key hangs behind the garage door"],
    "kitchen": ["The plum cake needs an hour in the oven", "bread wants a night of rest"],
}
QUESTION, STRANGE = "when is the boiler serviced", "treasure lies under oak"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return tiny_model.site(tmp_path_factory.mktemp("tiny"))


def keep(cli, work, name, model="qwen2", based=True):
    """Keep an adapter of a small model, which it names or not."""
    header = opened(model, "q8_0").header
    made = random_adapter(header, name)
    if based:
        made = replace(made, base_id=base_id(header), family=header.architecture)
    (work / name).mkdir()
    for file, data in peft.write(made).items():
        (work / name / file).write_bytes(data)
    assert cli("adapters", "import", str(work / name)).code == 0


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A folder with `base.gguf` and a text file for each adapter, in which one works."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base.gguf").write_bytes(opened("qwen2", "q8_0").data)
    for name, texts in TEXTS.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(f'{{"text": "{text}"}}\n' for text in texts))
    return tmp_path


@pytest.fixture
def cli(work, site):
    """The CLI, whose user keeps the adapters `house` and `kitchen`, of which nothing is said yet."""
    made = Cli(work / "home", site)
    for name in TEXTS:
        keep(made, work, name)
    return made


@pytest.fixture
def described(cli):
    for name in TEXTS:
        assert cli("adapters", "describe", name, f"{name}.jsonl").code == 0
    return cli


def answer(cli, prompt, *more):
    ran = cli("run", "base.gguf", prompt, "--max-tokens", "8", "--temperature", "0", "--json", *more)
    assert ran.code == 0, ran.err
    return ran


def cosine(name, prompt):
    mean = sum(map(tiny_model.expected, TEXTS[name]))
    return float(mean @ tiny_model.expected(prompt) / np.linalg.norm(mean))


def test_a_prompt_goes_to_the_adapter_whose_texts_it_is_like(described):
    ran, named = answer(described, QUESTION, "--adapter", "auto"), answer(described, QUESTION, "--adapter", "house")
    told = ran.data["routing"]
    assert (told["adapter"], told["embedding"], told["threshold"]) == ("house", f"{EMBEDDING}@1.0.0", THRESHOLD)
    for row in told["candidates"]:
        assert row["cosine"] == pytest.approx(cosine(row["name"], QUESTION), abs=1e-4)
    assert [row["name"] for row in told["candidates"]] == ["house", "kitchen"]
    assert f"adapter: house, cosine {told['candidates'][0]['cosine']:.2f}" in ran.err
    assert ran.data["text"] == named.data["text"] != answer(described, QUESTION).data["text"]
    assert "routing" not in named.data


def test_a_prompt_like_none_is_answered_by_the_base_alone_and_why_is_told(described):
    ran = answer(described, STRANGE, "--adapter", "auto")
    best = max(TEXTS, key=lambda name: cosine(name, STRANGE))
    assert (ran.data["routing"]["adapter"], ran.data["routing"]["id"]) == (None, None) and cosine(best, STRANGE) < 0.18
    assert f"adapter: none; the likest, {best}, has a cosine of {cosine(best, STRANGE):.2f}, less than 0.18" in ran.err
    assert ran.data["text"] == answer(described, STRANGE).data["text"]


def test_the_chosen_one_works_at_the_scale_given(described):
    half = answer(described, QUESTION, "--adapter", "house:0.5").data["text"]
    assert answer(described, QUESTION, "--adapter", "auto:0.5").data["text"] == half
    assert answer(described, QUESTION, "--adapter", "auto:0").data["text"] == answer(described, QUESTION).data["text"]


def test_only_adapters_of_the_model_are_asked(described, work):
    keep(described, work, "foreign", "llama")
    described("adapters", "describe", "foreign", "house.jsonl")
    told = answer(described, QUESTION, "--adapter", "auto").data["routing"]
    assert [row["name"] for row in told["candidates"]] == ["house", "kitchen"]


def test_what_an_adapter_was_trained_on_is_said_anew_and_told(described):
    ran = described("adapters", "describe", "house", "kitchen.jsonl", "house.jsonl", "--json")
    assert (ran.data["name"], ran.data["texts"], ran.data["embedding"]) == ("house", 4, f"{EMBEDDING}@1.0.0")
    again = described("adapters", "describe", "house", "house.jsonl")
    assert f"'house' is described by 2 passages ({EMBEDDING}@1.0.0)." in again.out
    (row,) = [row for row in described("adapters", "list", "--json").data["adapters"] if row["name"] == "house"]
    assert row["described"] == {"texts": 2, "embedding": f"{EMBEDDING}@1.0.0"}


def test_an_adapter_that_another_embedding_model_described_is_left_out_and_said(described, work):
    described("cache", "clear")
    described.site = tiny_model.site(work / "newer", "2.0.0")
    described("keys", "trust")
    assert described("adapters", "describe", "kitchen", "kitchen.jsonl").code == 0
    ran = answer(described, QUESTION, "--adapter", "auto")
    assert f"notice: house: described by another embedding model than {EMBEDDING}@2.0.0, so left out" in ran.err
    assert [row["name"] for row in ran.data["routing"]["candidates"]] == ["kitchen"]


def test_an_adapter_without_a_base_is_kept_with_a_notice(cli, work):
    keep(cli, work, "plain", based=False)
    assert "names no base; import it again with --base" in cli("adapters", "describe", "plain", "house.jsonl").err


REFUSED = [
    ("no adapter says what it was trained on", ["run", "base.gguf", "x", "--adapter", "auto"], 3, "adapter_profile_missing"),
    ("auto beside another", ["run", "base.gguf", "x", "--adapter", "auto", "--adapter", "house"], 8, "invalid_option"),
    ("auto for a model that is not there", ["run", "none.gguf", "x", "--adapter", "auto"], 3, "model_not_found"),
    ("an adapter that is not kept", ["adapters", "describe", "none", "house.jsonl"], 3, "adapter_not_found"),
    ("texts that are not there", ["adapters", "describe", "house", "none.txt"], 8, "invalid_option"),
    ("texts without a word", ["adapters", "describe", "house", "blank.jsonl"], 8, "empty_text"),
    ("a line that is no example", ["adapters", "describe", "house", "broken.jsonl"], 8, "not_text"),
    ("an embedding model that is not there", ["adapters", "describe", "house", "house.jsonl", "--model", "no"], 3, "model_not_found"),
]  # fmt: skip


@pytest.mark.parametrize(("why", "words", "status", "code"), REFUSED, ids=[row[0] for row in REFUSED])
def test_what_cannot_be_chosen_or_described_is_named(cli, work, why, words, status, code):
    (work / "blank.jsonl").write_text('{"input": "", "output": " "}\n')
    (work / "broken.jsonl").write_text("{}\n")
    ran = cli(*words, "--json")
    assert (ran.code, ran.data["error"]["code"]) == (status, code), ran.err


def test_without_the_embedding_model_nothing_is_chosen_and_the_way_on_is_told(described):
    described("cache", "clear")
    described.site = None
    ran = described("run", "base.gguf", QUESTION, "--adapter", "auto", "--json")
    assert (ran.code, ran.data["error"]["code"]) == (3, "not_cached") and f"pull {EMBEDDING}" in ran.err


def test_an_embedding_model_that_the_site_has_is_had(described):
    described("cache", "clear")
    assert answer(described, QUESTION, "--adapter", "auto").data["routing"]["adapter"] == "house"
