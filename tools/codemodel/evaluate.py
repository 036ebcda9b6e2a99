"""Bits per byte of a checkpoint on the held-out modules, beside gzip, xz, xz primed with the training part, and an order-5 model."""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from tools.codemodel import baselines, corpus, tokens
from tools.codemodel.network import Decoder, Shape
from tools.codemodel.train import ARCHIVE

STRIDE = 256  # new tokens a window scores; the rest of the window is their context


@torch.no_grad()
def bits(model, ids: np.ndarray) -> float:
    """Total bits of one module's ids (the first is END and is not scored), by windows of the model's context."""
    context, total, scored = model.shape.context, 0.0, 1
    while scored < len(ids):
        last = min(len(ids), max(scored + STRIDE, min(context, len(ids))))
        first = max(0, last - context - 1)
        window = torch.from_numpy(ids[first:last])[None]
        logits = model(window[:, :-1])[0]
        losses = functional.cross_entropy(logits, window[0, 1:], reduction="none")
        total += losses[scored - first - 1 :].sum().item() / np.log(2)
        scored = last
    return total


def model_bits_per_byte(model, tokenizer, modules: dict[str, bytes]) -> float:
    end = tokenizer.token_to_id(tokens.END)
    total = 0.0
    for source in modules.values():
        ids = np.array([end, *tokenizer.encode(source.decode("utf-8", "replace")).ids], np.int64)
        total += bits(model, ids)
    return total / sum(map(len, modules.values()))


def load(folder: Path):
    """(model, tokenizer, step) of a training folder."""
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    model = Decoder(Shape()).eval()
    model.load_state_dict(state["model"])
    return model, tokens.Tokenizer.from_file(str(folder / "tokenizer.json")), state["step"]


def main():
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--folder", type=Path, required=True)
    args = ask.parse_args()
    parts = corpus.split(corpus.read_archive(ARCHIVE))
    train, held = (b"".join(parts[name].values()) for name in ("train", "held-out"))
    model, tokenizer, step = load(args.folder)
    result = {
        "step": step,
        "held_out_bytes": len(held),
        "gzip": baselines.gzip_bits(held),
        "xz": baselines.xz_bits(held),
        "xz_primed": baselines.xz_bits(held, train),
        "order_5": baselines.ngram_bits(train, held),
        "model": model_bits_per_byte(model, tokenizer, parts["held-out"]),
        "personal": {p: package_bits(model, tokenizer, parts["personal"], p) for p in corpus.PERSONAL},
    }
    print(json.dumps(result, indent=1))


def package_bits(model, tokenizer, modules, package: str) -> float:
    return model_bits_per_byte(model, tokenizer, {n: s for n, s in modules.items() if n.startswith(package)})


if __name__ == "__main__":
    main()
