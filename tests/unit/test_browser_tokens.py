"""From examples to tokens by the tokenizer of another worker: the same as one here gives, in few messages, told and stopped."""

import pytest

from edgenet.errors import AbortError
from edgenet.host import browser_lm, browser_runs
from edgenet.host.browser_page import Page
from edgenet.lora.examples import MOST, PIECE, Tokens, tokenize
from tests.unit.lora_runs import run
from tests.unit.played_page import GENERATION, PlayedPage


@pytest.fixture
def page():
    return PlayedPage()


class Bytes:
    """The tokenizer that the played worker has."""

    special: dict = {}

    def encode(self, text, special=False, mark=""):
        return [100 + b for b in text.replace(mark, "").encode()]


EXAMPLES = {
    "a text": "hello",
    "a pair": {"input": "a", "output": "b"},
    "lines of a file": {"name": "x.jsonl", "text": '"one"\n{"input": "a", "output": "b"}\n'},
    "a file": {"name": "x.txt", "text": "one\ntwo"},
}


TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"


@pytest.mark.parametrize("what", EXAMPLES)
@pytest.mark.parametrize("template", [None, TEMPLATE], ids=["none", "template"])
def test_the_workers_tokenizer_gives_what_one_here_would(page, what, template):
    if template:
        pytest.importorskip("jinja2")
    example, generation = EXAMPLES[what], GENERATION | {"chatTemplate": template, "special": {}}
    texts = page.told

    def told(one):
        if isinstance(one, str):
            return texts(one)
        from edgenet.text.chat import Chat, tokenize_chat  # here: a tab's Python has no jinja2

        return tokenize_chat(
            Bytes(), generation, Chat(one["messages"], add_generation_prompt=one["addGenerationPrompt"])
        )

    page.told = told
    given = {"lines of a file": ["one", {"input": "a", "output": "b"}], "a file": ["one\ntwo"]}.get(what, [example])
    assert same(prepared(page, [example], generation), tokenize(given, Bytes(), generation))


def prepared(page, data, generation=GENERATION):
    return run(browser_lm.tokenized(Page(page.ask, page.hear, stopped=lambda: page.stopped), data, generation))


def test_many_short_examples_cross_in_few_messages_and_a_long_text_in_some(page):
    lines = [f"line {i}" for i in range(2 * MOST)]
    assert len(prepared(page, lines)) == len(lines) and page.asked == ["lm.tokens"] * 2
    page.asked.clear()
    assert same(prepared(page, ["line\n" * PIECE]), tokenize(["line\n" * PIECE], Bytes(), GENERATION))
    assert len(page.asked) == 6  # five pieces and what is left: each ends with a line


def test_preparing_tells_how_far_it_is_and_hears_a_stop_between_two_messages(page):
    prepared(page, ["line\n" * PIECE])
    shares = [event["progress"] for event in page.events]
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] == 100 and len(shares) == 7
    assert {event["phase"] for event in page.events} == {"prepare"}
    page.asked.clear()
    page.on_event = lambda event: setattr(page, "stopped", event["loaded"] > 0)
    with pytest.raises(AbortError):
        prepared(page, ["line\n" * PIECE])
    assert len(page.asked) == 2


def test_kept_tokens_are_read_as_they_were():
    tokens = tokenize(["one", {"input": "a", "output": "b"}], Bytes(), GENERATION)
    assert same(browser_runs.tokens_from_bytes(browser_runs.tokens_to_bytes(tokens)), tokens)


def same(a: list[Tokens], b: list[Tokens]) -> bool:
    return [(t.ids.tolist(), t.counts.tolist(), t.size, t.pair) for t in a] == [
        (t.ids.tolist(), t.counts.tolist(), t.size, t.pair) for t in b
    ]
