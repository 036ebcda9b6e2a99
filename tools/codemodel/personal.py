"""What training on one part of a package gives on its other part: bits per byte before and after, and on unrelated held-out modules.

python -m tools.codemodel.personal [PACKAGE …] [--preset personal] [--seed 0] [--files]   in CPython, on the engine; four minutes a package

A package is one of the standard library's that the model never saw, or any that is installed here. It is cut at its definitions into
passages of some 1,500 characters, which go to the two parts in turn; with --files its files do, whole, which is harder. A control is
trained on the same passages with their characters shuffled.
"""

import argparse
import asyncio
import json
import random
import re
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from edgenet.cli.language import open_engine
from edgenet.cli.shell import Shell
from edgenet.lora.config import DEFAULT_PRESET, PRESETS, Preset
from edgenet.lora.data import prepare
from edgenet.lora.evaluate import Evaluator
from edgenet.lora.examples import Tokens, tokenize
from edgenet.lora.trainer import Trainer
from tools.codemodel import corpus
from tools.paths import ROOT

MODEL = ROOT / "models" / "python-completion-7m-q8.gguf"
ARCHIVE = ROOT / "node_modules" / "pyodide" / "python_stdlib.zip"
PASSAGE, SAMPLE = 1500, 2000  # characters
MOST = 120_000  # bytes taken of an installed package
_DEFINITION = re.compile(r"(?m)^(?=(?:    )?(?:async )?(?:def|class) |@)")


def passages(source: str) -> list[str]:
    """The text in pieces that begin at definitions, each of at least PASSAGE characters but the last."""
    made = [""]
    for block in _DEFINITION.split(source):
        if len(made[-1]) >= PASSAGE:
            made.append("")
        made[-1] += block
    return [piece for piece in made if piece.strip()]


def parts(package: str, modules: dict[str, bytes], files: bool = False) -> tuple[list[str], list[str]]:
    """(to learn, the other part): the package's passages in turn, or those of its files in turn."""
    cut = [passages(raw.decode("utf-8", "replace")) for n, raw in sorted(modules.items()) if n.startswith(package)]
    if files:
        return sum(cut[::2], []), sum(cut[1::2], [])
    pieces = sum(cut, [])
    return pieces[::2], pieces[1::2]


def installed(package: str) -> dict[str, bytes]:
    """{module path: source bytes} of an installed package, sorted, at most MOST bytes. Raises ModuleNotFoundError."""
    spec = find_spec(package.strip("/"))
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            f"{package!r} is neither one of {', '.join(corpus.PERSONAL)} nor an installed package."
        )
    folder = Path(spec.submodule_search_locations[0])
    found: dict[str, bytes] = {}
    for path in sorted(folder.rglob("*.py")):
        raw = path.read_bytes()
        if sum(map(len, found.values())) + len(raw) <= MOST:
            found[f"{package}/{path.relative_to(folder).as_posix()}"] = raw
    return found


def unrelated(modules: dict[str, bytes]) -> list[str]:
    """SAMPLE characters out of the middle of each held-out module."""
    texts = [raw.decode("utf-8", "replace") for _, raw in sorted(modules.items())]
    return [text[(at := max(0, len(text) - SAMPLE) // 2) : at + SAMPLE] for text in texts if text.strip()]


def shuffled(texts: list[str]) -> list[str]:
    """The same characters in another order."""
    order = random.Random(0)
    return ["".join(order.sample(text, len(text))) for text in texts]


async def learned(it, texts: list[str], preset: Preset, measured: dict[str, list[Tokens]]) -> dict:
    """Train on the texts; bits per byte of each measured set before and after, seconds a step."""
    data = prepare(tokenize(texts, it.tokenizer, it.made.generation), preset.training)
    trainer = Trainer(it.engine, it.source.header, data, preset.lora, preset.training)
    steps = [event async for event in trainer if event["kind"] == "step"]
    adapter, found = trainer.adapter(), {}
    await trainer.dispose()
    async with Evaluator(it.engine, it.source.header, like=adapter) as evaluator:
        for name, tokens in measured.items():
            before, after = [(await evaluator.evaluate(tokens, a)).bits_per_byte for a in (None, adapter)]
            found[name] = {"before": round(before, 4), "after": round(after, 4), "change": round(after / before - 1, 4)}
    return {"secondsPerStep": round(steps[-1]["secondsPerStep"], 3), "steps": len(steps), **found}


async def measure(packages: list[str], preset: Preset, files: bool) -> None:
    """Print a JSON line for each package, and one for its control."""
    split = corpus.split(corpus.read_archive(ARCHIVE))
    async with open_engine(Shell(quiet=True), str(MODEL), 16) as it:
        plain = {**it.made.generation, "eos": []}  # only what is in the texts counts
        for package in packages:
            modules = split["personal"] if package in corpus.PERSONAL else installed(package)
            learn, other = parts(package, modules, files)
            texts = {"other": other, "unrelated": unrelated(split["held-out"])}
            measured = {name: tokenize(found, it.tokenizer, plain) for name, found in texts.items()}
            for kind, given in (("own text", learn), ("shuffled", shuffled(learn))):
                row = {"package": package, "trained on": kind, "bytes": sum(len(t.encode()) for t in given)}
                print(json.dumps(row | await learned(it, given, preset, measured)), flush=True)


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("packages", nargs="*", default=corpus.PERSONAL)
    ask.add_argument("--preset", choices=PRESETS, default=DEFAULT_PRESET)
    ask.add_argument("--seed", type=int, default=0)
    ask.add_argument("--files", action="store_true", help="whole files go to the two parts in turn")
    args = ask.parse_args()
    preset = PRESETS[args.preset]  # all of the part is learned: what is kept apart is the other part
    training = replace(preset.training, seed=args.seed, validation=0.0)
    asyncio.run(measure(args.packages, replace(preset, training=training), args.files))


if __name__ == "__main__":
    main()
