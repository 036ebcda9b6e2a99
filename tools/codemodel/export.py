"""The trained checkpoint and its tokenizer as one GGUF file, as llama.cpp's converter would write a Qwen2 model. Needs torch.

python -m tools.codemodel.export --folder FOLDER --output code-q8.gguf [--type q8_0]
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from tools.codemodel import tokens
from tools.gguf_file import FILE_TYPES, write

NAME = "EdgeNet Python completion"
NORMAL, CONTROL = 1, 3  # tokenizer.ggml.token_type
# The checkpoint's modules by GGUF's names; {} is the layer.
OUTSIDE = {"token_embd": "embed_tokens", "output_norm": "norm"}
INSIDE = {
    "attn_norm": "input_layernorm",
    "attn_q": "q_proj",
    "attn_k": "k_proj",
    "attn_v": "v_proj",
    "attn_output": "o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "gate_proj",
    "ffn_up": "up_proj",
    "ffn_down": "down_proj",
}
# config.json's values by GGUF's keys.
CONFIG = {
    "block_count": "num_hidden_layers",
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "rope.freq_base": "rope_theta",
}


def tensors(state: dict[str, torch.Tensor], layers: int) -> dict[str, np.ndarray]:
    """{GGUF name: f32 array}. Fails when a tensor of the checkpoint has no place."""
    names = dict(OUTSIDE)
    for i in range(layers):
        names |= {f"blk.{i}.{ours}": f"layers.{i}.{theirs}" for ours, theirs in INSIDE.items()}
    ends = {f"{ours}.{end}": f"{theirs}.{end}" for ours, theirs in names.items() for end in ("weight", "bias")}
    found = {ours: state[theirs].float().numpy() for ours, theirs in ends.items() if theirs in state}
    assert len(found) == len(state), sorted(set(state) - set(ends.values()))
    return found


def tokenizer_metadata(tokenizer: dict) -> dict:
    """tokenizer.ggml.* of a tokenizer.json. The end of a module also stands before every module, so it opens a text."""
    vocabulary = tokenizer["model"]["vocab"] | {t["content"]: t["id"] for t in tokenizer["added_tokens"]}
    special = {t["id"] for t in tokenizer["added_tokens"] if t["special"]}
    texts = sorted(vocabulary, key=vocabulary.get)
    end = vocabulary[tokens.END]
    values = {
        "model": "gpt2",
        "pre": "qwen2",
        "tokens": texts,
        "token_type": [CONTROL if i in special else NORMAL for i in range(len(texts))],
        "merges": [" ".join(pair) for pair in tokenizer["model"]["merges"]],
        "bos_token_id": end,
        "eos_token_id": end,
        "padding_token_id": end,
        "add_bos_token": True,
    }
    return {f"tokenizer.ggml.{key}": value for key, value in values.items()}


def metadata(config: dict, tokenizer: dict) -> dict:
    """GGUF metadata of a training folder's config.json and tokenizer.json."""
    general = {
        "general.architecture": "qwen2",
        "general.type": "model",
        "general.name": NAME,
        "general.languages": ["code"],
    }
    return (
        general | {f"qwen2.{ours}": config[theirs] for ours, theirs in CONFIG.items()} | tokenizer_metadata(tokenizer)
    )


def export(folder: Path, output: Path, kind: str) -> tuple[int, int]:
    """(bytes written, training step) of the folder's checkpoint as GGUF."""
    config, tokenizer = (json.loads((folder / f"{n}.json").read_text()) for n in ("config", "tokenizer"))
    state = torch.load(folder / "checkpoint.pt", weights_only=True, map_location="cpu")
    arrays = tensors(state["model"], config["num_hidden_layers"])
    return write(output, metadata(config, tokenizer), arrays, kind), state["step"]


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--folder", type=Path, required=True, help="where tools.codemodel.train left its checkpoint")
    ask.add_argument("--output", type=Path, required=True)
    ask.add_argument("--type", choices=FILE_TYPES, default="q8_0", help="of the matrices")
    args = ask.parse_args()
    size, step = export(args.folder, args.output, args.type)
    print(f"{args.output}: {size:,} bytes, step {step}")


if __name__ == "__main__":
    main()
