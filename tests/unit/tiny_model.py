"""A real embedding model of a few kilobytes: an ONNX file (mean of word vectors, length 1), its tokenizer and config. Made at test time."""

import json
from hashlib import sha256
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    ".",
    ",",
    *sorted(
        set(
            "the boiler in cellar is serviced every october heating spare key hangs behind garage door house "
            "plum cake needs flour an hour oven bread wants night of rest when tomatoes water morning drain under hedge floods "
            "after storms treasure lies oak text note one two".split()
        )
    ),
]
D = 32


def table() -> np.ndarray:
    """Word vectors f32 (len(WORDS), D): a fixed random direction for each word, zero for the marks and for unknown words."""
    seeds = [int.from_bytes(sha256(word.encode()).digest()[:4], "big") for word in WORDS]
    rows = np.stack([np.random.default_rng(seed).standard_normal(D) for seed in seeds]).astype(np.float32)
    rows[:1] = 0
    rows[1:4] *= 0.01  # a text of unknown words still has a direction
    return rows


def graph() -> onnx.ModelProto:
    """input_ids, attention_mask i32 (b, n) → embedding f32 (b, D)."""
    constants = [
        numpy_helper.from_array(table(), "table"),
        numpy_helper.from_array(np.array([2], np.int64), "last"),
        numpy_helper.from_array(np.array([1], np.int64), "tokens"),
    ]
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["words"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["column"]),
        helper.make_node("Mul", ["words", "column"], ["seen"]),
        helper.make_node("ReduceSum", ["seen", "tokens"], ["sum"], keepdims=0),
        helper.make_node("LpNormalization", ["sum"], ["embedding"], axis=-1, p=2),
    ]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT32, ["b", "n"]) for name in ("input_ids", "attention_mask")
    ]
    output = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["b", D])
    model = helper.make_model(
        helper.make_graph(nodes, "tiny", inputs, [output], constants), opset_imports=[helper.make_opsetid("", 17)]
    )
    model.ir_version = 8
    onnx.checker.check_model(model)
    return model


def tokenizer() -> dict:
    """A word-level tokenizer in the `tokenizers` library's form: lower case, divided at white space and punctuation."""
    marks = [
        {
            "id": i,
            "content": WORDS[i],
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for i in range(4)
    ]
    template = [
        {"SpecialToken": {"id": "[CLS]", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
        {"SpecialToken": {"id": "[SEP]", "type_id": 0}},
    ]
    special = {name: {"id": name, "ids": [WORDS.index(name)], "tokens": [name]} for name in ("[CLS]", "[SEP]")}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": marks,
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "decoder": None,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": template,
            "pair": template,
            "special_tokens": special,
        },
        "model": {"type": "WordLevel", "vocab": {word: i for i, word in enumerate(WORDS)}, "unk_token": "[UNK]"},
    }


def write(folder: Path) -> Path:
    """Write model.onnx, tokenizer.json and config.json; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(graph().SerializeToString())
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer()))
    (folder / "config.json").write_text(json.dumps({"hidden_size": D, "max_position_embeddings": 512}))
    return folder


def site(folder: Path, version: str = "1.0.0") -> str:
    """A site with the model under the id that the CLI embeds with; its path."""
    from tests.unit.cli_site import Cli

    publisher, files = Cli(folder / "publisher"), write(folder / f"files-{version}")
    publisher("keys", "generate")
    where = ("--version", version, "--output", str(folder / "site"))
    ran = publisher("publish", str(files), "--name", "minilm-l6-v2-q8", *where)
    assert ran.code == 0, ran.err
    return str(folder / "site")


def expected(text: str) -> np.ndarray:
    """The vector f32 (D,) that the model must give for a short text of words and spaces: the oracle, by NumPy alone."""
    known = {word: i for i, word in enumerate(WORDS)}
    ids = [known["[CLS]"], *(known.get(word, 1) for word in text.lower().replace(".", " .").split()), known["[SEP]"]]
    total = table()[ids].sum(axis=0)
    return total / np.linalg.norm(total)
