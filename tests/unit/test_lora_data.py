"""What is trained on: examples become tokens, sequences, rows and batches, and the seed alone says which come when."""

import json
from pathlib import Path

import numpy as np
import pytest

from edgenet.errors import ExampleTooLong, NotText, TooLittleData, WrongType
from edgenet.lora import TrainingConfig, draws
from edgenet.lora.data import MOST_HELD, NONE, Row, join, masked, pack, prepare, segments
from edgenet.lora.examples import PIECE, Tokens, read_examples, tokenize

CHAT = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = {"<|im_start|>": 256, "<|im_end|>": 257, "<s>": 258}
GENERATION = {"bos": 258, "addBos": True, "eos": [257], "special": SPECIAL, "chatTemplate": None, "name": "bytes"}


class Bytes:
    """A tokenizer whose tokens are bytes, beside the special ones."""

    def encode(self, text, special=False, mark=""):
        if not special:
            return list(text.encode())
        for name in SPECIAL:
            head, found, tail = text.partition(name)
            if found:
                return [*self.encode(head, True, mark), SPECIAL[name], *self.encode(tail, True, mark)]
        return list(text.replace(mark, "").encode())


def tokens(*examples, **generation):
    return tokenize(examples, Bytes(), GENERATION | generation)


def config(**options):
    return TrainingConfig(**{"max_length": 8, "validation": 0.0, **options})


def said(row):
    """What of a row counts: [(the token, the one to be foretold)]."""
    return [(int(t), int(y)) for t, y, w in zip(row.tokens, row.targets, row.weights, strict=True) if w]


def test_a_text_begins_and_ends_as_the_model_was_taught():
    (one,) = tokens("hi")
    assert one.ids.tolist() == [258, *b"hi", 257] and one.counts.tolist() == [False, True, True, True] and one.size == 2


def test_a_text_is_cut_and_every_token_but_the_first_is_foretold_once():
    (one,) = tokens("abcdefghijklmnopqrstuv")
    pairs = [p for row in segments(one, 8) for p in said(row)]
    assert pairs == list(zip(one.ids.tolist(), one.ids.tolist()[1:], strict=False))


def test_overlapping_pieces_foretell_every_token_once_with_context():
    (one,) = tokens("abcdefghijklmnopqrstuv")
    rows = segments(one, 8, overlap=4)
    assert [p for row in rows for p in said(row)] == list(zip(one.ids.tolist(), one.ids.tolist()[1:], strict=False))
    assert all(row.positions[row.weights > 0].min() >= 4 for row in rows[1:])


def test_only_the_answer_of_a_pair_counts():
    (one,) = tokens({"input": "ab", "output": "cd"})
    (row,) = segments(one, 8)
    assert [y for _, y in said(row)] == [*b"cd", 257] and row.counted == 3 and one.size == 2


@pytest.mark.parametrize("output", ["", " \n"])
@pytest.mark.parametrize("template", [None, "{{ messages[0].content }}"], ids=["plain", "chat"])
def test_an_answer_without_a_character_is_no_example(output, template):
    if template:
        pytest.importorskip("jinja2")
    assert tokens({"input": "ab", "output": output}, chatTemplate=template) == []


def test_a_pair_goes_through_the_chat_template_and_only_the_answer_and_its_end_count():
    pytest.importorskip("jinja2")
    (one,) = tokens({"input": "Hi", "output": "Yo<|im_end|>"}, chatTemplate=CHAT)
    counted = one.ids[one.counts].tolist()
    assert counted == [*b"Yo<|im_end|>", 257]  # what a person writes never becomes a special token
    assert one.ids.tolist() == [258, 256, *b"user\nHi", 257, *b"\n", 256, *b"assistant\n", *counted]


def test_examples_of_files():
    lines = '{"input": "a", "output": "b", "id": 1}\n\n"c"\n{"text": "d"}\n'
    assert read_examples("x.JSONL", lines)[1:] == ["c", "d"] and read_examples("x.jsonl", lines)[0]["output"] == "b"
    assert read_examples("x.md", lines) == [lines]


LINES = json.loads((Path(__file__).parents[1] / "vectors" / "lines.json").read_text("utf-8"))


@pytest.mark.parametrize("row", LINES, ids=lambda row: row["why"])
def test_a_file_of_lines_is_cut_as_json_lines_has_it(row):
    assert read_examples("x.jsonl", row["text"]) == row["examples"]


NO_EXAMPLE = ["{", "3", '{"input": "a"}', '{"input": 1, "output": "b"}', "null", '{"text": ' + "[" * 100_000]


@pytest.mark.parametrize("line", NO_EXAMPLE, ids=lambda line: line[:30])
def test_a_line_that_is_no_example_is_named(line):
    with pytest.raises(NotText, match="line 2"):
        read_examples("x.jsonl", f'"good"\n{line}\n')


@pytest.mark.parametrize("wrong", [3, {"input": "a"}, b"bytes", None])
def test_what_is_no_example_is_refused(wrong):
    with pytest.raises(WrongType):
        tokens(wrong)


@pytest.mark.parametrize("nothing", [[], [""], ["  \n"], [{"input": "a", "output": ""}]])
def test_nothing_to_learn_is_a_named_error(nothing):
    with pytest.raises(TooLittleData):
        prepare(tokens(*nothing), config())


def test_a_pair_that_does_not_fit_is_refused_with_its_number_among_all_that_was_given():
    with pytest.raises(ExampleTooLong, match="Example 3, a pair, has 10 tokens") as caught:
        prepare(tokens("text", "  ", {"input": "abcd", "output": "efgh"}), config())
    assert caught.value.details == {"example": 3, "tokens": 10, "most": 9}
    assert (
        len(prepare(tokens({"input": "abcd", "output": "efg"}), config()).train[0]) == 8
    )  # the last token is only foretold


@pytest.mark.parametrize(
    ("examples", "share", "held", "reason"),
    [
        (["abc"], 0.1, 0, "one short text"),
        (["abc", "def", "ghi"], 0.1, 0, "each of three is a third, not a tenth"),
        (["a" * 38], 0.1, 0, "a text of five pieces"),
        (["a" * 40], 0.1, 1, "of six pieces, one is nearer to a tenth than none"),
        (["a" * 12], 0.5, 1, "a half of two pieces"),
        (["abc"], 0.9, 0, "something is always trained on"),
    ],
)
def test_where_a_share_is_no_whole_piece_all_is_trained_on_and_that_is_said(examples, share, held, reason):
    data = prepare(tokens(*examples), config(validation=share))
    assert len(data.validation) == held and data.train
    assert ("too little text to keep" in " ".join(notice["message"] for notice in data.notices)) == (not held)


def test_a_single_long_text_is_validated_by_some_of_its_pieces_and_the_cut_is_said():
    data = prepare(tokens("abcdefgh" * 10), config(validation=0.2))
    assert (len(data.train), len(data.validation)) == (9, 2) and "1 of 1 texts" in data.notices[0]["message"]


@pytest.mark.parametrize(
    ("options", "said", "reason"),
    [
        ({"max_steps": 300, "max_epochs": 6}, ["12 of 300 steps", "(6; 0 lifts that)"], "two rows, six times each"),
        ({"max_steps": 12, "max_epochs": 6}, [], "as many as were asked for"),
        ({"max_steps": 300}, [], "no limit"),
    ],
)
def test_a_course_that_little_text_makes_shorter_is_said(options, said, reason):
    notices = prepare(tokens("abcdefg", "hijklmn"), config(**options)).notices
    assert all(part in notices[0]["message"] for part in said) and len(notices) == bool(said)


def test_whole_examples_are_held_back_where_there_are_enough():
    texts = [chr(97 + i) * 12 for i in range(10)]
    data = prepare(tokens(*texts), config(validation=0.2, max_length=32))
    kinds = [{int(t) for row in rows for t in row.tokens if t < 256} for rows in (data.train, data.validation)]
    assert (len(kinds[0]), len(kinds[1]), kinds[0] & kinds[1]) == (8, 2, set())


def test_no_more_is_held_back_than_is_quick_to_validate_on():
    data = prepare(tokens("abcdefgh" * 1000), config(validation=0.5))
    assert (len(data.validation), len(data.train)) == (MOST_HELD, 1001 - MOST_HELD)


def test_short_sequences_share_rows_and_nothing_is_lost():
    rng = np.random.default_rng(0)
    sequences = [segments(t, 64)[0] for t in tokens(*("x" * n for n in rng.integers(1, 50, 40).tolist()))]
    rows = pack(sequences, 64)
    assert all(len(row) <= 64 for row in rows) and sum(map(len, rows)) == sum(map(len, sequences))
    assert len(rows) <= 1.1 * sum(map(len, sequences)) / 64 + 1
    for row in rows:  # sequences in blocks, numbered on, positions from 0 in each
        starts = np.flatnonzero(row.positions == 0)
        assert row.sequences[starts].tolist() == list(range(len(starts))) and (np.diff(row.sequences) >= 0).all()


def test_joined_rows_number_their_sequences_on():
    (row,) = segments(tokens("ab")[0], 8)
    assert join([row, row, row]).sequences.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_every_epoch_sees_every_row_once_in_an_order_of_the_seed():
    data = prepare(tokens("abcdefgh" * 10), config())
    order = [data.batch(config(seed=5), i).tokens.tobytes() for i in range(2 * len(data.train))]
    epochs = order[: len(data.train)], order[len(data.train) :]
    rows = sorted(row.tokens.tobytes() for row in data.train)
    assert sorted(epochs[0]) == sorted(epochs[1]) == rows and epochs[0] != epochs[1]
    assert order[7] == data.batch(config(seed=5), 7).tokens.tobytes()  # of the number alone
    assert order != [data.batch(config(seed=6), i).tokens.tobytes() for i in range(len(order))]


def test_a_batch_goes_on_into_the_next_epoch():
    data = prepare(tokens("abcdefgh" * 3), config())
    assert data.batch(config(batch_size=8), 0).last_sequence == 7


def test_the_digest_is_of_the_rows():
    made = [prepare(tokens(text), c).digest for text, c in
            (("abcdefghijk", config()), ("abcdefghijk", config(learning_rate=1)), ("abcdefghijK", config()),
             ("abcdefghijk", config(max_length=9)))]  # fmt: skip
    assert made[0] == made[1] and len(set(made)) == 3


def test_masking_hides_a_share_of_what_counts_and_only_that_counts():
    (one,) = tokens("abcdefghijklmnopqrstuvwxyz" * 20)
    (row,) = segments(one, 1000, "masked")
    some = masked(row, 999, 0.15, seed=3, draw=1)
    hidden = some.tokens == 999
    assert (hidden == (some.weights > 0)).all() and 0.1 < hidden.mean() < 0.2
    assert (some.targets[hidden] == row.tokens[hidden]).all() and (some.targets[~hidden] == NONE).all()
    assert (some.tokens[~hidden] == row.tokens[~hidden]).all()
    assert (masked(row, 999, 0.15, seed=3, draw=2).tokens != some.tokens).any()


def test_a_notice_says_that_the_masked_objective_looks_both_ways():
    said = [prepare(tokens("abcde"), config(objective=o, validation=0)).notices for o in ("causal", "masked")]
    assert said[0] == () and "sees both ways" in said[1][0]["message"]


def test_masking_always_hides_something():
    row = Row(
        *(
            np.array(a, t)
            for a, t in (([1, 2], "i4"), ([NONE, 2], "i4"), ([0, 1], "f4"), ([0, 1], "i4"), ([0, 0], "i4"))
        )
    )
    assert masked(row, 9, 1e-9, seed=0, draw=0).tokens.tolist() == [1, 9]


def test_draws_are_philox_of_seed_purpose_and_time():
    from edgenet.kernels.lm.sample import philox

    assert draws.words(7 + (9 << 32), 2, 5, 6).tolist() == [
        *philox((7, 9), (0, 2, 5, 1)),
        *philox((7, 9), (1, 2, 5, 1))[:2],
    ]
    assert sorted(draws.permutation(1, 0, 0, 100).tolist()) == list(range(100))
    numbers = draws.uniform(1, 3, 0, 4000)
    assert 0 <= numbers.min() and numbers.max() < 1 and abs(numbers.mean() - 0.5) < 0.02


def test_examples_as_tokens_pass_through():
    one = Tokens(np.array([1, 2], np.int32), np.array([False, True]), 1)
    assert tokenize([one], None, GENERATION) == [one]


SEAMS = {
    "lines": ("one two\n" * PIECE, lambda text: text.endswith("\n")),
    "no line ends": ("x" * (2 * PIECE + 5), lambda text: len(text) in (PIECE, 5)),
}


@pytest.mark.parametrize("what", SEAMS)
def test_a_long_text_is_told_in_pieces_that_end_with_lines(what):
    text, whole = SEAMS[what]
    asked, told = [], []

    class Noting(Bytes):
        def encode(self, text, **how):
            asked.append(text)
            return super().encode(text, **how)

    (one,) = tokenize([text], Noting(), GENERATION, lambda *far: told.append(far))
    assert "".join(asked) == text and max(map(len, asked)) <= PIECE and all(map(whole, asked))
    assert one.ids.tolist() == [258, *text.encode(), 257] and one.size == len(text)
    assert told[0] == (0, len(text)) and told[-1] == (len(text), len(text)) and len(told) == len(asked) + 1
