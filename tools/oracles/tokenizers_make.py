"""Write tests/vectors/tokenizer/: small tokenizers of every kind that GGUF files carry, and what their own libraries make of hard texts.

    python -m tools.oracles.tokenizers_make        needs tokenizers, sentencepiece, llama-cpp-python and gguf; run by hand when a
    rule changes

Each tokenizer is trained here by the library whose kind it is. `ids` are that library's; llama.cpp reads the same tokenizer from a
GGUF file, and a row where it answers otherwise says so under `llama.cpp`. The readers of the vectors are
tests/unit/test_tokenizer.py and tests/node/text.test.mjs.
"""

import ctypes
import inspect
import io
import json
import tempfile
import textwrap
from importlib.metadata import version
from pathlib import Path

import gguf
import llama_cpp
import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as spm_pb2
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from edgenet.text.gguf_tokenizer import tokenizer_json
from edgenet.text.pretokenizers import PRE_TOKENIZERS
from tools.oracles.tokenizers_texts import TEXTS, TRAINING
from tools.paths import ROOT

OUT = ROOT / "tests/vectors/tokenizer"
CORPUS = [*TRAINING, *inspect.getsource(textwrap).splitlines(), *inspect.getsource(io).splitlines()]
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
WORDS = ["<think>", "</think>"]  # user-defined: one token each, also in a person's text
PRES = (
    "default gpt-2 llama-bpe qwen2 starcoder smollm command-r falcon deepseek-llm deepseek-coder deepseek-v3 tekken gpt-4o bloom viking"
).split()
MADE_BY = {name: version(name) for name in ("tokenizers", "sentencepiece", "llama-cpp-python", "gguf")}
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, _, BYTE = range(1, 7)


# --- one small tokenizer of each kind: (GGUF metadata, its own library's encoder)
def byte_level():
    """A byte-level BPE; the caller names the pre-tokenizer."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(vocab_size=520, initial_alphabet=alphabet, special_tokens=SPECIAL, show_progress=False),
    )
    model = json.loads(tokenizer.to_str())["model"]
    texts = sorted(model["vocab"], key=model["vocab"].get) + WORDS
    types = [CONTROL if t in SPECIAL else USER_DEFINED if t in WORDS else NORMAL for t in texts]
    merges = [" ".join(m) for m in model["merges"]]
    ids = {"bos_token_id": 0, "eos_token_id": 2}
    return {"model": "gpt2", "tokens": texts, "token_type": types, "merges": merges} | ids, model


def byte_level_encoder(model, pre):
    """The same tokenizer as its makers write it: the row's patterns, composed where the row says."""
    row = PRE_TOKENIZERS[pre]
    bpe = models.BPE(model["vocab"], [tuple(m) for m in model["merges"]], ignore_merges=row.ignore_merges)
    tokenizer = Tokenizer(bpe)
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.add_tokens([AddedToken(w, normalized=False) for w in WORDS])
    tokenizer.encode_special_tokens = True
    if row.nfc:
        tokenizer.normalizer = normalizers.NFC()
    steps = [pre_tokenizers.Split(Regex(p), "isolated") for p in row.patterns]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [*steps, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids


def sentencepiece_model(**options):
    """A SentencePiece model trained on the corpus, as (GGUF metadata without the model's kind, processor)."""
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS),
        model_writer=out,
        minloglevel=2,
        num_threads=1,
        user_defined_symbols=WORDS,
        hard_vocab_limit=False,
        **options,
    )
    processor = sentencepiece.SentencePieceProcessor(model_proto=out.getvalue())
    proto = spm_pb2.ModelProto.FromString(out.getvalue())
    spec = proto.normalizer_spec
    metadata = {
        "tokens": [p.piece for p in proto.pieces],
        "scores": [p.score for p in proto.pieces],
        "token_type": [p.type for p in proto.pieces],
        "add_space_prefix": spec.add_dummy_prefix,
        "remove_extra_whitespaces": spec.remove_extra_whitespaces,
        "precompiled_charsmap": list(spec.precompiled_charsmap),
        "bos_token_id": processor.bos_id(),
        "eos_token_id": processor.eos_id(),
        "unknown_token_id": processor.unk_id(),
    }
    return metadata, processor


def spm(add_dummy_prefix):
    metadata, processor = sentencepiece_model(
        model_type="bpe",
        vocab_size=620,
        byte_fallback=True,
        character_coverage=0.98,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=add_dummy_prefix,
    )
    del metadata["precompiled_charsmap"], metadata["remove_extra_whitespaces"]
    return {"model": "llama"} | metadata, lambda text: processor.encode(text)


def unigram(remove_extra_whitespaces):
    rules = {
        "e\u0301": "é",
        "Ａ": "A",
        "Ｂ": "B",
        "Ｃ": "C",
        "ﬁ": "fi",
        "\t": " ",
        "\n": " ",
        "\u3000": " ",
        "\u0007": "",
        "½": "1/2",
    }
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as file:
        file.writelines(f"{hexed(k)}\t{hexed(v)}\n" for k, v in rules.items())
        file.flush()
        metadata, processor = sentencepiece_model(
            model_type="unigram",
            vocab_size=420,
            normalization_rule_tsv=file.name,
            remove_extra_whitespaces=remove_extra_whitespaces,
        )
    return {"model": "t5"} | metadata, lambda text: processor.encode(text)


def hexed(text):
    return " ".join(f"{ord(c):04X}" for c in text)


def word_piece():
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(
        CORPUS, trainers.WordPieceTrainer(vocab_size=480, special_tokens=marks, show_progress=False)
    )
    tokenizer.encode_special_tokens = True
    vocab = tokenizer.get_vocab()
    texts = sorted(vocab, key=vocab.get)
    stored = [
        t if t in marks else t[2:] if t.startswith("##") else "\u2581" + t for t in texts
    ]  # as llama.cpp's converter writes them
    ids = {"cls_token_id": 2, "seperator_token_id": 3, "unknown_token_id": 1, "padding_token_id": 0, "mask_token_id": 4}
    types = [UNKNOWN if t == "[UNK]" else CONTROL if t in marks else NORMAL for t in texts]
    return {
        "model": "bert",
        "tokens": stored,
        "token_type": types,
    } | ids, lambda text: tokenizer.encode(text, add_special_tokens=False).ids


# --- llama.cpp
WRITERS = {
    "tokens": "add_token_list",
    "scores": "add_token_scores",
    "token_type": "add_token_types",
    "merges": "add_token_merges",
}


def llama_encoder(metadata):
    """llama.cpp's tokenizer of a GGUF file with nothing but this vocabulary; None when it refuses."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vocab.gguf"
        writer = gguf.GGUFWriter(path, "llama")
        for key, value in metadata.items():
            writer.add_key_value(f"tokenizer.ggml.{key}", *typed(value)) if key not in WRITERS else getattr(
                writer, WRITERS[key]
            )(value)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.close()
        try:
            model = llama_cpp.Llama(str(path), vocab_only=True, verbose=False)
        except ValueError:
            return None
    return lambda text: model.tokenize(text.encode(), add_bos=False, special=False)


def typed(value):
    kinds = gguf.GGUFValueType
    if isinstance(value, list):
        return value, kinds.ARRAY, kinds.UINT8
    return value, {bool: kinds.BOOL, int: kinds.UINT32, str: kinds.STRING}[type(value)]


def case(metadata, encode, pre=None):
    """What both make of every text, llama.cpp only where it differs; and our tokenizer.json's parts that depend on `pre`, for tests
    in JavaScript.
    """
    metadata = metadata | ({"pre": pre} if pre else {})
    llama = llama_encoder(metadata)
    ids = {why: encode(text) for why, text in TEXTS.items()}
    others = {why: llama(text) for why, text in TEXTS.items()} if llama else {}
    ours = tokenizer_json(named(metadata))
    return {
        "pre": pre,
        "parts": {
            "normalizer": ours["normalizer"],
            "pre_tokenizer": ours["pre_tokenizer"],
            "ignore_merges": ours["model"].get("ignore_merges"),
        },
        "ids": ids,
        "llama.cpp": {why: other for why, other in others.items() if other != ids[why]},
    }


def named(metadata):
    return {f"tokenizer.ggml.{key}": value for key, value in metadata.items()}


def write(name, metadata, cases):
    whole = {
        "made_by": MADE_BY,
        "metadata": named(metadata),
        "tokenizer": tokenizer_json(named(metadata)),
        "cases": cases,
    }
    dump(OUT / f"{name}.json", whole)
    differ = [f"{case['pre'] or ''} {why}" for case in cases for why in case["llama.cpp"]]
    print(
        f"{name}: {len(metadata['tokens'])} tokens, {len(cases) * len(TEXTS)} rows; llama.cpp differs on {len(differ)}: {differ}"
    )


def dump(path, value):
    path.write_text(json.dumps(value, separators=(",", ":")).replace('{"pre"', '\n{"pre"') + "\n")


def main():
    llama_cpp.llama_log_set(QUIET, None)
    OUT.mkdir(exist_ok=True)
    metadata, model = byte_level()
    write("byte-level", metadata, [case(metadata, byte_level_encoder(model, pre), pre) for pre in PRES])
    kinds = {
        "sentencepiece": spm(True),
        "sentencepiece-no-prefix": spm(False),
        "unigram": unigram(True),
        "unigram-spaces-kept": unigram(False),
        "word-piece": word_piece(),
    }
    for name, (metadata, encode) in kinds.items():
        write(name, metadata, [case(metadata, encode)])
    dump(OUT / "texts.json", TEXTS)


QUIET = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda *_: None)

if __name__ == "__main__":
    main()
