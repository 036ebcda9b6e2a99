"""Full-size vocabularies against llama.cpp and against Hugging Face's answers beside them.

    python -m tools.oracles.tokenizers_real FOLDER      needs tokenizers, gguf and llama-cpp-python

FOLDER is `vendor/llama.cpp/models` of llama-cpp-python's source package: GGUF files with a vocabulary only, with texts (`.inp`) and
the ids that the models' own Hugging Face tokenizers made of them (`.out`). Nothing of it is stored here.
"""

import sys
import time
from pathlib import Path

import gguf
import llama_cpp

from edgenet.errors import TokenizerInvalid
from edgenet.host.tokenizer import text_tokenizer
from edgenet.text.gguf_tokenizer import tokenizer_json
from tools.oracles.tokenizers_make import QUIET
from tools.oracles.tokenizers_texts import TEXTS

BETWEEN = "\n__ggml_vocab_test__\n"


def hugging_face(path):
    """[(text, ids)] that lie beside a vocabulary, if any."""
    texts, ids = Path(f"{path}.inp"), Path(f"{path}.out")
    if not texts.exists():
        return []
    said = texts.read_bytes().decode().split(BETWEEN)
    lines = ids.read_text().split("\n")
    return [(text, [int(i) for i in line.split()]) for text, line in zip(said, lines, strict=False) if text]


def llama(path):
    """[(text, ids)] by llama.cpp; empty when it refuses the file."""
    try:
        model = llama_cpp.Llama(str(path), vocab_only=True, verbose=False)
    except ValueError:
        return []
    return [(text, model.tokenize(text.encode(), add_bos=False, special=False)) for text in TEXTS.values()]


def main():
    llama_cpp.llama_log_set(QUIET, None)
    for path in sorted(Path(sys.argv[1]).glob("*.gguf")):
        metadata = {key: field.contents() for key, field in gguf.GGUFReader(path).fields.items()}
        start = time.perf_counter()
        try:
            tokenizer = text_tokenizer(tokenizer_json(metadata))
        except TokenizerInvalid as error:
            print(f"{path.stem}: {error}")
            continue
        seconds = time.perf_counter() - start
        wrong = {
            name: [text for text, ids in rows if tokenizer.encode(text) != ids]
            for name, rows in {"Hugging Face": hugging_face(path), "llama.cpp": llama(path)}.items()
        }
        counts = ", ".join(f"{len(texts)} unlike {name}" for name, texts in wrong.items())
        print(
            f"{path.stem}: {len(metadata['tokenizer.ggml.tokens'])} tokens built in {seconds:.2f} s; {counts}",
            *sum(wrong.values(), [])[:3],
            sep="\n    ",
        )


if __name__ == "__main__":
    main()
