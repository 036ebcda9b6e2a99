"""Ask transformers and llama.cpp what the small models say, and write it to tests/vectors/models/. CPython with torch; minutes.

python -m tools.oracles.models [NAME …]     needs torch, transformers and llama-cpp-python beside this repository's own needs
"""

import argparse
import json
from importlib.metadata import version

import torch

from tools.oracles import llama_cpp_oracle, rope
from tools.oracles.hugging_face import logits_of, vectors_of
from tools.oracles.small_models import ENCODERS, MODELS, PROMPTS, ROWS, packed
from tools.paths import ROOT

FOLDER = ROOT / "tests" / "vectors" / "models"


def record(name: str) -> dict:
    """The vectors of one model: for each prompt its last ROWS rows of logits (or its unit vector), and what llama.cpp says."""
    small = MODELS[name]
    if small.architecture in ENCODERS:
        answers = [packed(v) for v in vectors_of(small, PROMPTS)]
        return {"why": small.why, "vectors": answers, "llama.cpp": llama_cpp_oracle.vectors(small, PROMPTS)}
    answers = [packed(logits_of(small, prompt)[-ROWS:]) for prompt in PROMPTS]
    return {"why": small.why, "logits": answers, "llama.cpp": llama_cpp_oracle.answers(small, PROMPTS)}


def answer(name: str) -> dict:
    """A file's content."""
    if name == "rope":
        return {"cases": {title: rope.record(case) for title, case in rope.CASES.items()}}
    return record(name)


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("names", nargs="*", default=[*MODELS, "rope"])
    torch.set_num_threads(1)
    versions = {p: version(p) for p in ("torch", "transformers", "llama-cpp-python")}
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in ask.parse_args().names:
        data = {"oracle": versions} | answer(name)
        (FOLDER / f"{name}.json").write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n")
        print(name, (FOLDER / f"{name}.json").stat().st_size, flush=True)


if __name__ == "__main__":
    main()
