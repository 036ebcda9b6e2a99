"""A GGUF file's tokenizer as `tokenizer.json` (Hugging Face's format). Pure, runs anywhere; imports no NumPy.

`tokenizer.ggml.model` chooses the builder: gpt2 (byte-level BPE), gemma4 (BPE over text), llama (SentencePiece BPE), t5 (unigram),
bert (WordPiece). It tells how text becomes tokens, not what a person may write: see `encode.py` for that. Formats: the GGUF
specification, tokenizers' own serialisation, and llama.cpp (src/llama-vocab.cpp) for what files leave unsaid.
"""

import base64
from array import array
from collections.abc import Iterable

from ..errors import TokenizerInvalid
from .pretokenizers import pre_tokenizer
from .special import BYTE, CONTROL, UNKNOWN, USER_DEFINED, Tokens, judge_lengths, read_tokens, token_id

_SPACE = "\u2581"  # SentencePiece's word mark
_MOST_PARTS = 1 << 28  # as MOST_PARTS, of all tokens that merges can make: room for 256 Ki tokens of 32 characters
_NEVER_MERGED = frozenset((UNKNOWN, CONTROL, BYTE))


def tokenizer_json(metadata: dict) -> dict:
    """`metadata`: the file's keys and values. Returns the content of tokenizer.json.

    Raises TokenizerInvalid for a kind of tokenizer that is not known or lists that do not fit together.
    """
    kind = metadata.get("tokenizer.ggml.model")
    if not isinstance(kind, str) or kind not in _BUILDERS:
        known = ", ".join(sorted(_BUILDERS))
        raise TokenizerInvalid(f"The file's tokenizer is of kind {kind!r}. EdgeNet reads {known}.", model=str(kind))
    tokens = read_tokens(metadata)
    parts = _BUILDERS[kind](metadata, tokens)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": _added_tokens(metadata, tokens),
        "normalizer": None,
        "pre_tokenizer": None,
        "post_processor": _post_processor(metadata, tokens),
    } | parts


def adds(metadata: dict) -> tuple[bool, bool]:
    """(a token at the start, one at the end): what the file says, else what its kind of tokenizer does."""
    kind = metadata.get("tokenizer.ggml.model")
    bos, eos = {"llama": (True, False), "bert": (True, True), "t5": (False, True), "gemma4": (True, False)}.get(
        kind, (False, False)
    )
    if kind == "gpt2":
        bos = pre_tokenizer(metadata.get("tokenizer.ggml.pre")).add_bos
    if kind != "bert":
        bos = metadata.get("tokenizer.ggml.add_bos_token", bos)
        eos = metadata.get("tokenizer.ggml.add_eos_token", eos)
    return bool(bos), bool(eos)


# --- one builder per kind: normalizer, pre_tokenizer, decoder, model
def _byte_level(metadata: dict, tokens: Tokens) -> dict:
    pre = pre_tokenizer(metadata.get("tokenizer.ggml.pre"))
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    return {
        "normalizer": {"type": "NFC"} if pre.nfc else None,
        "pre_tokenizer": _sequence("pretokenizers", [*map(_split, pre.patterns), byte_level]),
        "decoder": byte_level,
        "model": _bpe(tokens, _given_merges(metadata, tokens), ignore_merges=pre.ignore_merges),
    }


def _text_bpe(metadata: dict, tokens: Tokens) -> dict:
    model = _bpe(
        tokens, _given_merges(metadata, tokens), byte_fallback=True, fuse_unk=True, unk_token=_unknown(metadata, tokens)
    )
    return {
        "normalizer": _replace_spaces(),
        "pre_tokenizer": _split(r"[^\n]+|[\n]+"),
        "decoder": _sentencepiece_decoder(False),
        "model": model,
    }


def _sentencepiece(metadata: dict, tokens: Tokens) -> dict:
    prefix = bool(metadata.get("tokenizer.ggml.add_space_prefix", True))
    steps = [{"type": "Prepend", "prepend": _SPACE}] * prefix + [_replace_spaces()]
    return {
        "normalizer": _sequence("normalizers", steps),
        "decoder": _sentencepiece_decoder(prefix),
        "model": _bpe(
            tokens, _merges_by_score(tokens), byte_fallback=True, fuse_unk=True, unk_token=_unknown(metadata, tokens)
        ),
    }


def _unigram(metadata: dict, tokens: Tokens) -> dict:
    prefix = bool(metadata.get("tokenizer.ggml.add_space_prefix", True))
    steps = []
    if charsmap := metadata.get("tokenizer.ggml.precompiled_charsmap"):
        if not isinstance(charsmap, list | array) or not all(isinstance(b, int) for b in charsmap):
            raise TokenizerInvalid(
                "The file's tokenizer.ggml.precompiled_charsmap should be bytes. Get the file anew, or convert it again."
            )
        text = base64.b64encode(bytes(b & 255 for b in charsmap)).decode()
        steps.append({"type": "Precompiled", "precompiled_charsmap": text})
    if metadata.get("tokenizer.ggml.remove_extra_whitespaces", False):
        steps += [
            {"type": "Strip", "strip_left": True, "strip_right": True},
            {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
        ]
    steps += [{"type": "Prepend", "prepend": _SPACE}] * prefix + [_replace_spaces()]
    vocab = [
        [text, 0.0 if kind == USER_DEFINED else score]
        for text, kind, score in zip(tokens.texts, tokens.types, tokens.scores, strict=True)
    ]
    unknown = token_id(metadata, "unknown", len(tokens.texts))
    return {
        "normalizer": _sequence("normalizers", steps),
        "pre_tokenizer": None
        if any(_SPACE in text[1:] for text in tokens.texts)
        else _split(f"{_SPACE}[^{_SPACE}]*|[^{_SPACE}]+"),
        "decoder": _sentencepiece_decoder(prefix),
        "model": {"type": "Unigram", "unk_id": unknown, "vocab": vocab, "byte_fallback": False},
    }


def _word_piece(metadata: dict, tokens: Tokens) -> dict:
    lowercase = bool(metadata.get("tokenizer.ggml.normalizer.lowercase", True))
    strip = bool(metadata.get("tokenizer.ggml.normalizer.strip_accents", lowercase))
    normalizer = {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": True,
        "strip_accents": strip,
        "lowercase": lowercase,
    }
    return {
        "normalizer": normalizer,
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": _unknown(metadata, tokens),
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {_as_word_piece(text): i for i, text in enumerate(tokens.texts)},
        },
    }


_BUILDERS = {"gpt2": _byte_level, "gemma4": _text_bpe, "llama": _sentencepiece, "t5": _unigram, "bert": _word_piece}


# --- BPE
def _bpe(
    tokens: Tokens, merges: list[list[str]], ignore_merges=False, byte_fallback=False, fuse_unk=False, unk_token=None
) -> dict:
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": unk_token,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": fuse_unk,
        "byte_fallback": byte_fallback,
        "ignore_merges": ignore_merges,
        "vocab": {text: i for i, text in enumerate(tokens.texts)},
        "merges": merges,
    }


def _given_merges(metadata: dict, tokens: Tokens) -> list[list[str]]:
    """The file's merges, in order. Those that name or make no token can never matter, and other readers refuse them."""
    merges = metadata.get("tokenizer.ggml.merges")
    if not isinstance(merges, list) or not merges or not all(isinstance(merge, str) for merge in merges):
        raise TokenizerInvalid(
            "The file's tokenizer has no merges (tokenizer.ggml.merges). Get the file anew, or convert it again."
        )
    known, found = set(tokens.texts), []
    for merge in merges:
        cut = merge.find(" ", 1)
        left, right = merge[:cut], merge[cut + 1 :]
        if cut > 0 and left in known and right in known and left + right in known:
            found.append([left, right])
    return found


def _merges_by_score(tokens: Tokens) -> list[list[str]]:
    """Every way to make a token of two others, the highest score first; of equals the longer left part, as SentencePiece finds them."""
    mergeable = {
        t: s for t, k, s in zip(tokens.texts, tokens.types, tokens.scores, strict=True) if k not in _NEVER_MERGED
    }
    judge_lengths(mergeable, _MOST_PARTS)
    found = [
        (-score, -cut, text)
        for text, score in mergeable.items()
        for cut in range(1, len(text))
        if text[:cut] in mergeable and text[cut:] in mergeable
    ]
    found.sort()
    return [[text[:-cut], text[-cut:]] for _, cut, text in found]


# --- small parts of the format
def _sequence(key: str, steps: list[dict]) -> dict:
    return {"type": "Sequence", key: steps}


def _split(pattern: str) -> dict:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def _replace_spaces() -> dict:
    return {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE}


def _sentencepiece_decoder(prefix: bool) -> dict:
    steps = [
        {"type": "Replace", "pattern": {"String": _SPACE}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    return _sequence("decoders", steps + [{"type": "Strip", "content": " ", "start": 1, "stop": 0}] * prefix)


def _as_word_piece(text: str) -> str:
    """The converter marks word starts; `tokenizer.json` marks what continues a word."""
    if text.startswith("[") and text.endswith("]"):
        return text
    return text[1:] if text.startswith(_SPACE) else "##" + text


def _unknown(metadata: dict, tokens: Tokens) -> str | None:
    found = token_id(metadata, "unknown", len(tokens.texts))
    return None if found is None else tokens.texts[found]


def _added_tokens(metadata: dict, tokens: Tokens) -> list[dict]:
    """Control and unknown tokens are special, user-defined ones are words that are never cut."""
    phi3 = metadata.get("general.architecture") == "phi3"  # swallows what follows a mark of its chat: a line's end
    keep = {"<unk>", "<s>", "<|endoftext|>"}
    return [
        {
            "id": i,
            "content": tokens.texts[i],
            "single_word": False,
            "lstrip": False,
            "rstrip": phi3 and tokens.texts[i] not in keep,
            "normalized": False,
            "special": tokens.types[i] != USER_DEFINED,
        }
        for i, kind in enumerate(tokens.types)
        if kind in (UNKNOWN, CONTROL, USER_DEFINED)
    ]


def _post_processor(metadata: dict, tokens: Tokens) -> dict | None:
    """A template that puts the first and last token around a text, where the model wants them."""
    first = ("cls", "bos") if metadata.get("tokenizer.ggml.model") == "bert" else ("bos",)
    last = ("seperator",) if metadata.get("tokenizer.ggml.model") == "bert" else ("eos",)
    bos, eos = (
        _first_id(metadata, names, len(tokens.texts)) if wanted else None
        for wanted, names in zip(adds(metadata), (first, last), strict=True)
    )
    if bos is None and eos is None:
        return None
    around = {i: tokens.texts[i] for i in (bos, eos) if i is not None}

    def mark(i: int | None, kind: int = 0) -> list[dict]:
        return [] if i is None else [{"SpecialToken": {"id": around[i], "type_id": kind}}]

    one = [*mark(bos), {"Sequence": {"id": "A", "type_id": 0}}, *mark(eos)]
    return {
        "type": "TemplateProcessing",
        "single": one,
        "pair": [*one, {"Sequence": {"id": "B", "type_id": 1}}, *mark(eos, 1)],
        "special_tokens": {text: {"id": text, "ids": [i], "tokens": [text]} for i, text in around.items()},
    }


def _first_id(metadata: dict, names: Iterable[str], count: int) -> int | None:
    return next((i for name in names if (i := token_id(metadata, name, count)) is not None), None)
