"""Real vectors for tests: the built 8-bit model by onnxruntime, kept in .build/cache so that a second run is quick.

CPython only. `EDGENET_TEST_MODELS` names another folder of built models than `.build/out/models`."""

import hashlib
import os
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".build/cache/vectors"
MODEL = "minilm-l6-v2-q8"
BATCH = 16


def model_folder():
    return Path(os.environ.get("EDGENET_TEST_MODELS", ROOT / ".build/out/models")) / MODEL


class Embedder:
    """`embedder(texts, tokens=256)` gives float32 (n, 384), unit rows; texts are cut after `tokens` tokens."""

    def __init__(self, folder):
        self.folder = folder
        self.digest = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
        self.session = None

    def __call__(self, texts, tokens=256):
        key = hashlib.sha256("\0".join([self.digest, str(tokens), *texts]).encode()).hexdigest()
        path = CACHE / f"{key[:32]}.npy"
        if not path.exists():
            vectors = self.run(list(texts), tokens)
            CACHE.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(f".{os.getpid()}.npy")
            np.save(partial, vectors)
            partial.replace(path)
        return np.load(path)

    def run(self, texts, tokens):
        import onnxruntime
        from tokenizers import Tokenizer

        if not self.session:
            self.session = onnxruntime.InferenceSession(self.folder / "model.onnx", providers=["CPUExecutionProvider"])
        tokenizer = Tokenizer.from_file(str(self.folder / "tokenizer.json"))
        tokenizer.enable_truncation(tokens)
        ids = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        vectors = np.empty((len(ids), 384), np.float32)
        for start in range(0, len(order), BATCH):
            part = order[start : start + BATCH]
            vectors[part] = self.batch([ids[i] for i in part])
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def batch(self, ids):
        width = max(map(len, ids))
        rows = np.array([row + [0] * (width - len(row)) for row in ids], np.int32)
        mask = np.array([[1] * len(row) + [0] * (width - len(row)) for row in ids], np.int32)
        return self.session.run(["embedding"], {"input_ids": rows, "attention_mask": mask})[0]
