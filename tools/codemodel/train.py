"""Trains the decoder; kill it at any time and run it again. Same seed, threads and machine: same weights."""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from tools.codemodel import corpus, optimiser, tokens
from tools.codemodel.network import Decoder, Shape
from tools.paths import NODE_MODULES

ARCHIVE = NODE_MODULES / "pyodide" / "python_stdlib.zip"
SEED = 20260101
# step → share of the full learning rate, linear between: warm-up, plateau, a slow fall, a quicker one to zero
RATE = ((0, 0.01), (99, 1.0), (1320, 1.0), (1675, 145 / 216), (2150, 0.0))
STEPS = RATE[-1][0]


def tokenizer_of(folder: Path, parts) -> "tokens.Tokenizer":
    path = folder / "tokenizer.json"
    if not path.exists():
        tokens.train(source.decode("utf-8", "replace") for source in parts["train"].values()).save(str(path))
    return tokens.Tokenizer.from_file(str(path))


def stream(tokenizer, modules, order) -> np.ndarray:
    """All modules in one row of ids, END before each; `order` is a permutation."""
    end = tokenizer.token_to_id(tokens.END)
    names = list(modules)
    rows = [[end, *tokenizer.encode(modules[names[i]].decode("utf-8", "replace")).ids] for i in order]
    return np.concatenate([np.array(r, np.int64) for r in rows])


class Batches:
    """Batch `step` is a function of the seed and the step alone, so a resumed run sees what an unbroken one would."""

    def __init__(self, tokenizer, modules, context, size):
        self.tokenizer, self.modules, self.context, self.size = tokenizer, modules, context, size
        self.epoch, self.ids = -1, None

    def rows(self, epoch):
        """The stream of one epoch: modules shuffled, cut at an offset of its own."""
        if epoch != self.epoch:
            draw = np.random.default_rng([SEED, epoch])
            ids = stream(self.tokenizer, self.modules, draw.permutation(len(self.modules)))
            start = draw.integers(self.context)
            count = (len(ids) - start - 1) // self.context
            self.order = draw.permutation(count)
            self.epoch, self.ids, self.start = epoch, ids, start
        return self.order

    def __call__(self, step):
        per_epoch = getattr(self, "per_epoch", None) or len(self.rows(0)) // self.size - 1
        self.per_epoch = per_epoch
        order = self.rows(step // per_epoch)
        first = step % per_epoch * self.size
        starts = self.start + order[first : first + self.size] * self.context
        return torch.from_numpy(np.stack([self.ids[s : s + self.context + 1] for s in starts]))


def rate(step):
    """Share of the full learning rate."""
    return float(np.interp(step, *zip(*RATE, strict=True)))


def one_step(model, optimisers, batch, share):
    for o in optimisers:
        for group in o.param_groups:
            group["lr"] = group.setdefault("full", group["lr"]) * share
    total = 0.0
    for row in batch.split(4):
        logits = model(row[:, :-1])
        loss = functional.cross_entropy(logits.flatten(0, 1), row[:, 1:].flatten()) * len(row) / len(batch)
        loss.backward()
        total += loss.item()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for o in optimisers:
        o.step()
        o.zero_grad(set_to_none=True)
    return total


def save(path, model, optimisers, step):
    part = path.with_suffix(".part")
    torch.save({"model": model.state_dict(), "optimisers": [o.state_dict() for o in optimisers], "step": step}, part)
    part.replace(path)


def main():
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--folder", type=Path, required=True, help="tokenizer, checkpoint and log are kept here")
    ask.add_argument("--batch", type=int, default=4)
    ask.add_argument("--dropout", type=float, default=0.0)
    ask.add_argument("--every", type=int, default=25, help="steps between checkpoints")
    ask.add_argument("--stop", type=int, help="stop early after this step (to measure)")
    args = ask.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    parts = corpus.split(corpus.read_archive(ARCHIVE))
    tokenizer = tokenizer_of(args.folder, parts)
    torch.manual_seed(SEED)
    shape = Shape()
    model = Decoder(shape, args.dropout)
    optimisers = optimiser.make(model)
    (args.folder / "config.json").write_text(json.dumps(shape.config(), indent=1) + "\n")
    checkpoint, step = args.folder / "checkpoint.pt", 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        for o, s in zip(optimisers, state["optimisers"], strict=True):
            o.load_state_dict(s)
        step = state["step"]
    run(args, model, optimisers, Batches(tokenizer, parts["train"], shape.context, args.batch), checkpoint, step)


def run(args, model, optimisers, batches, checkpoint, first):
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, from step {first}", flush=True)
    log, start = (args.folder / "log.jsonl").open("a"), time.time()
    for step in range(first, args.stop or STEPS):
        torch.manual_seed(SEED + step)  # dropout too is a function of the step
        loss = one_step(model, optimisers, batches(step), rate(step))
        log.write(json.dumps({"step": step, "loss": round(loss, 4), "seconds": round(time.time() - start, 1)}) + "\n")
        log.flush()
        if (step + 1) % args.every == 0:
            save(checkpoint, model, optimisers, step + 1)
            print(step + 1, round(loss, 3), f"{time.time() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
