"""Tokenizers from GGUF metadata, against the libraries that made them (tools/oracles/tokenizers_make.py) and llama.cpp."""

import json
from pathlib import Path

import pytest

from edgenet import errors
from edgenet.text.decode import Decoder, StreamDecoder
from edgenet.text.encode import plain_config
from edgenet.text.generation import generation_json
from edgenet.text.gguf_tokenizer import tokenizer_json
from edgenet.text.pretokenizers import PRE_TOKENIZERS
from edgenet.text.stops import StopSequences

VECTORS = Path(__file__).parents[1] / "vectors/tokenizer"
TEXTS = json.loads((VECTORS / "texts.json").read_text())
FILES = {
    path.stem: json.loads(path.read_text())
    for path in sorted(VECTORS.glob("*.json"))
    if path.stem not in ("texts", "stops")
}
CASES = [(name, case) for name, file in FILES.items() for case in file["cases"]]
# Where the maker and llama.cpp part, whose rule holds here and why. All else is equal to both.
LLAMA_CPP_HOLDS = {
    (
        "sentencepiece",
        "words that are one token",
    ): "llama.cpp and Hugging Face begin each part beside such a word with a space",
    ("unigram", "words that are one token"): "the same",
}
# A lone space between two such words: the maker, Hugging Face and llama.cpp each make something else of it.
NOT_COMPARED = {("unigram-spaces-kept", "words that are one token")}


def metadata(name, pre=None):
    return FILES[name]["metadata"] | ({"tokenizer.ggml.pre": pre} if pre else {})


def text_tokenizer(data):
    host = pytest.importorskip("edgenet.host.tokenizer", reason="Hugging Face's tokenizers is not here")
    return host.text_tokenizer(tokenizer_json(data))


def expected(name, case):
    swapped = {
        why: case["llama.cpp"].get(why, ids) for why, ids in case["ids"].items() if (name, why) in LLAMA_CPP_HOLDS
    }
    return {why: ids for why, ids in (case["ids"] | swapped).items() if (name, why) not in NOT_COMPARED}


@pytest.mark.parametrize(("name", "case"), CASES, ids=lambda v: v if isinstance(v, str) else v["pre"] or "")
def test_tokens_are_those_of_the_tokenizers_maker(name, case):
    tokenizer = text_tokenizer(metadata(name, case["pre"]))
    wanted = expected(name, case)
    assert {why: tokenizer.encode(TEXTS[why]) for why in wanted} == wanted


@pytest.mark.parametrize(("name", "case"), CASES, ids=lambda v: v if isinstance(v, str) else v["pre"] or "")
def test_the_tokenizer_json_is_the_one_that_javascript_is_tested_with(name, case):
    ours, parts = tokenizer_json(metadata(name, case["pre"])), case["parts"]
    stored = FILES[name]["tokenizer"] | {key: parts[key] for key in ("normalizer", "pre_tokenizer")}
    if parts["ignore_merges"] is not None:
        stored["model"] = stored["model"] | {"ignore_merges": parts["ignore_merges"]}
    assert ours["model"] == stored["model"]
    assert {k: ours[k] for k in ("normalizer", "pre_tokenizer", "decoder", "added_tokens")} == {
        k: stored[k] for k in ("normalizer", "pre_tokenizer", "decoder", "added_tokens")
    }


@pytest.mark.parametrize("name", ["byte-level", "sentencepiece", "sentencepiece-no-prefix"])
def test_byte_tokenizers_give_back_every_text(name):
    tokenizer = text_tokenizer(metadata(name, "llama-bpe"))
    shown = [
        text for text in TEXTS.values() if "\u2581" not in text and "\u0120" not in text
    ]  # the marks themselves read as spaces
    assert [tokenizer.decode(tokenizer.encode(text)) for text in shown if "<think>" not in text] == [
        text for text in shown if "<think>" not in text
    ]


@pytest.mark.parametrize("name", FILES)
def test_no_text_becomes_a_special_token(name):
    tokenizer = text_tokenizer(metadata(name))
    special = {token.id for token in tokenizer.special.values()}
    unknown = {
        token_id for text, token_id in generation_json(metadata(name))["special"].items() if "unk" in text.lower()
    }
    written = "".join(tokenizer.special)
    assert special & set(tokenizer.encode(written + " " + " ".join(tokenizer.special))) <= unknown
    assert special <= set(tokenizer.encode(written, special=True)) | unknown


@pytest.mark.parametrize(
    "text", ["<|im_end|>", "x<|im_end|>y<|im_start|>", "<|im_end|><|im_end|>", "<|im_<|im_end|>end|>"]
)
def test_special_tokens_count_only_where_the_caller_asks(text):
    tokenizer = text_tokenizer(metadata("byte-level", "qwen2"))
    end = tokenizer.special["<|im_end|>"].id
    assert end not in tokenizer.encode(text)
    assert tokenizer.encode(text, special=True).count(end) == text.count("<|im_end|>")
    assert tokenizer.decode(tokenizer.encode(text, special=True), special=True) == text


def test_a_merge_that_would_make_a_special_token_is_left_out():
    config = {
        "model": {"type": "BPE", "vocab": {"<": 0, "s": 1, ">": 2, "<s": 3, "<s>": 4}, "merges": ["< s", "<s >"]},
        "added_tokens": [{"id": 4, "content": "<s>", "special": True}],
    }
    plain = plain_config(config)["model"]
    assert plain["merges"] == [["<", "s"]]
    assert "<s>" not in plain["vocab"]


def test_only_two_hexadecimal_digits_make_a_byte():
    texts = ["<0x41>", "<0xZZ>", "<0x+1>", "<0x-1>", "<0x 1>"]
    config = {
        "model": {"vocab": {text: i for i, text in enumerate(texts)}},
        "decoder": {"type": "ByteFallback"},
    }
    assert Decoder(config).decode(range(len(texts))) == "A<0xZZ><0x+1><0x-1><0x 1>"


@pytest.mark.parametrize("name", FILES)
def test_a_stream_gives_the_same_text_and_never_half_a_character(name):
    tokenizer = text_tokenizer(metadata(name))
    for text in TEXTS.values():
        ids = tokenizer.encode(text)
        stream = tokenizer.stream(at_start=True)
        pieces = [stream.push(token) for token in ids]
        assert "".join(pieces) + stream.end() == tokenizer.decode(ids)
        if "\ufffd" not in text:
            assert not any("\ufffd" in piece for piece in pieces)


BYTES = {
    "model": {"type": "BPE", "vocab": {f"<0x{b:02X}>": b for b in range(256)} | {"\u2581a": 256}},
    "decoder": {"type": "ByteFallback"},
}


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\xf0\x9f\x91\x8d", "👍"),
        (b"\xf0\x9f\x91", "\ufffd"),
        (b"a\xffb", "a\ufffdb"),
        (b"\xe2\x82\xe2\x82\xac", "\ufffd€"),
        (b"\xed\xa0\x80", "\ufffd\ufffd\ufffd"),
        (b"\xef\xbb\xbfx", "\ufeffx"),
    ],
    ids=["whole", "cut off", "no UTF-8", "cut off by another", "a surrogate", "a byte order mark"],
)
def test_broken_bytes_become_replacement_characters(data, text):
    assert Decoder(BYTES).decode(list(data)) == text


@pytest.mark.parametrize(("at_start", "text"), [(True, "a a"), (False, " a a")])
def test_the_space_before_a_first_word_is_left_out_only_at_a_texts_start(at_start, text):
    decoder = Decoder(
        BYTES
        | {
            "decoder": {
                "type": "Sequence",
                "decoders": [{"type": "ByteFallback"}, {"type": "Strip", "content": " ", "start": 1}],
            }
        }
    )
    stream = StreamDecoder(decoder, at_start=at_start)
    assert stream.push(256) + stream.push(256) + stream.end() == text


def test_an_id_that_is_no_token_is_a_named_error():
    with pytest.raises(errors.TokenizerInvalid, match="99999"):
        Decoder(FILES["byte-level"]["tokenizer"]).decode([99999])


GOOD = FILES["byte-level"]["metadata"]


def words(*texts, kind=1):
    return {"tokenizer.ggml.tokens": list(texts), "tokenizer.ggml.token_type": [kind] * len(texts)} | {
        "tokenizer.ggml.scores": [0.0] * len(texts)
    }


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"tokenizer.ggml.model": "rwkv"}, "kind 'rwkv'"),
        ({"tokenizer.ggml.model": None}, "kind None"),
        ({"tokenizer.ggml.pre": "from-the-future"}, "from-the-future"),
        ({"tokenizer.ggml.pre": ["a"]}, "does not know"),
        ({"tokenizer.ggml.tokens": []}, "tokens"),
        ({"tokenizer.ggml.tokens": None}, "tokens"),
        ({"tokenizer.ggml.tokens": [1, 2]}, "tokens"),
        ({"tokenizer.ggml.tokens": ["a", "a"]}, "repeat"),
        ({"tokenizer.ggml.token_type": [1]}, "token_type"),
        ({"tokenizer.ggml.scores": [float("nan")] * len(GOOD["tokenizer.ggml.tokens"])}, "NaN"),
        ({"tokenizer.ggml.merges": None}, "no merges"),
        ({"tokenizer.ggml.model": "llama", **words("a" * 100_000)}, "too long"),
        (words("<" * 100_000, kind=3), "too long"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_a_tokenizer_that_cannot_be_is_a_named_error(change, says):
    with pytest.raises(errors.TokenizerInvalid, match=says):
        tokenizer_json(GOOD | change)


def test_merges_that_name_no_token_are_passed_over():
    merges = [*GOOD["tokenizer.ggml.merges"], "no such", "", " ", "x"]
    assert tokenizer_json(GOOD | {"tokenizer.ggml.merges": merges}) == tokenizer_json(GOOD)


def test_generation_names_what_ends_a_turn():
    found = generation_json(
        metadata("byte-level", "llama-bpe")
        | {
            "general.architecture": "llama",
            "llama.context_length": 2048,
            "general.name": "N",
            "general.file_type": 7,
            "tokenizer.chat_template": "T",
        },
        parameters=5,
    )
    assert found == {
        "architecture": "llama", "context": 2048, "bos": 0, "addBos": True, "eos": [2, 0],
        "special": {"<|endoftext|>": 0, "<|im_start|>": 1, "<|im_end|>": 2},
        "chatTemplate": "T", "stop": [], "name": "N", "parameters": 5, "quantization": "Q8_0",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("tokens", "types", "ends"),
    [
        (["a", "</s>"], [1, 1], []),
        (["a", "</s>"], [1, 3], [1]),
        (["<|im_end|>", "b"], [1, 1], [0]),
        (["<|return|>", "<|call|>", "<|end|>"], [3, 3, 3], [0, 1]),
        (["<|end|>", "x"], [3, 1], [0]),
    ],
    ids=[
        "HTML's end of strike-through",
        "a mark",
        "a mark that the file forgot to mark",
        "an inner mark of one family",
        "and an end of others",
    ],
)
def test_known_names_end_a_turn_even_where_the_file_is_silent(tokens, types, ends):
    data = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": types,
    }
    assert generation_json(data)["eos"] == ends


def test_every_pre_tokenizer_is_a_regular_expression_that_the_library_reads():
    library = pytest.importorskip("tokenizers")
    assert all(library.Regex(pattern) for row in PRE_TOKENIZERS.values() for pattern in row.patterns)


def test_around_puts_the_first_and_last_token_that_the_model_wants():
    tokenizer = text_tokenizer(metadata("word-piece"))
    assert tokenizer.encode("dog", around=True) == [2, *tokenizer.encode("dog"), 3]
    assert tokenizer.count_tokens("dog", around=True) == len(tokenizer.encode("dog")) + 2


@pytest.mark.parametrize("row", json.loads((VECTORS / "stops.json").read_text()), ids=lambda row: row["why"])
def test_stop_sequences(row):
    stop = StopSequences(row["stops"])
    shown = [stop.push(piece) for piece in row["pieces"]]
    assert [*shown, stop.end()] == row["shown"]
    assert stop.found == row["found"]


def test_an_empty_stop_sequence_is_refused():
    with pytest.raises(errors.InvalidOption, match="empty"):
        StopSequences(["a", ""])


def test_any_text_comes_back_and_none_is_special():
    hypothesis = pytest.importorskip("hypothesis")
    tokenizer = text_tokenizer(metadata("byte-level", "llama-bpe"))
    marks = hypothesis.strategies.sampled_from(
        [*tokenizer.special, "<|", "|>", "im_end", "\ufdd0", " ", "\n\n", "👩‍👩"]
    )
    texts = hypothesis.strategies.lists(marks | hypothesis.strategies.text()).map("".join)
    special = {token.id for token in tokenizer.special.values()}

    @hypothesis.given(texts)
    def holds(text):
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        assert not special & set(ids)
        assert tokenizer.decode(tokenizer.encode(text, special=True), special=True) == tokenizer.decode(ids)

    holds()
