"""An embedding model by onnxruntime and tokenizers: the CPython side of `session.TextModel`. Not for Pyodide."""

import json
from functools import lru_cache
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from ..errors import ModelInvalid

_FILES = ("model.onnx", "tokenizer.json", "config.json")
_OUTPUT = "embedding"


class OnnxModel:
    """Implements `session.TextModel`. `files` holds model.onnx, tokenizer.json and config.json as bytes; others are ignored.

    Raises ModelInvalid when one is missing or cannot be run. `threads` 0 lets onnxruntime choose.
    """

    def __init__(self, files: dict[str, bytes], threads: int = 0):
        missing = [name for name in _FILES if name not in files]
        if missing:
            raise ModelInvalid(
                f"The model lacks {', '.join(missing)}. Pull it again, or ask its publisher.", missing=missing
            )
        try:
            config = json.loads(files["config.json"])
            self.dimensions, self.max_tokens = int(config["hidden_size"]), int(config["max_position_embeddings"])
            self._tokenizer = Tokenizer.from_str(files["tokenizer.json"].decode())
            self._session = _session(files["model.onnx"], threads)
        except Exception as error:  # the libraries raise plain Exception
            raise ModelInvalid(f"The model cannot be run: {error}") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.memory_bytes = len(files["model.onnx"])
        self.count_unit = lru_cache(20_000)(self._count_unit)

    @classmethod
    def from_folder(cls, folder: Path, threads: int = 0) -> "OnnxModel":
        """The model whose files lie in `folder`."""
        return cls({name: (folder / name).read_bytes() for name in _FILES if (folder / name).exists()}, threads)

    def encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(_well_formed(text)).ids

    def _count_unit(self, unit: str) -> int:
        return len(self._tokenizer.encode(_well_formed(unit), add_special_tokens=False).ids)

    async def run(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return self._session.run([_OUTPUT], {"input_ids": ids, "attention_mask": mask})[0]

    async def close(self) -> None:
        self._session = None


def _session(data: bytes, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def _well_formed(text: str) -> str:
    """Lone surrogates become U+FFFD, as JavaScript's toWellFormed does."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
