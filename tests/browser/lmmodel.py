"""Small language models with random weights: their files as published, and what NumPy says they answer."""

import json
from io import BytesIO

import numpy as np

from edgenet.formats.blocks import quantize
from edgenet.formats.gguf import read_header
from edgenet.formats.gguf_write import Tensor, pieces
from edgenet.graph import Capacity
from edgenet.models import build
from edgenet.models.adapted import document
from edgenet.models.compiled import compile_gguf, default_capacity
from edgenet.run import GraphEngine
from tests.browser.fakemodel import at_once
from tools.oracles.small_models import MODELS, vocabulary


def gguf(name, kind="q8_0", factors=()):
    """The bytes of a GGUF file of the small model `name`, its matrices quantised as `kind`; `factors`: (tensor, what it is multiplied by)."""
    small = MODELS[name]
    tensors, factors = [], dict(factors)
    for tensor, values in small.tensors().items():
        values = values * np.float32(factors.get(tensor, 1))
        type_ = kind if values.ndim == 2 and values.shape[1] % 32 == 0 else "f32"
        tensors.append(Tensor(tensor, type_, values.shape, quantize(type_, np.atleast_2d(values))))
    return b"".join(pieces(small.metadata | vocabulary(small), tensors))


def header_of(data):
    file = BytesIO(data)
    return read_header(lambda at, length: (file.seek(at), file.read(length))[1], len(data))


def files(data, **capacity):
    """{artifact: (filename, bytes)} of a GGUF file compiled for `capacity`."""
    header = header_of(data)
    made = compile_gguf(header, Capacity(**capacity) if capacity else default_capacity(header))
    texts = {"program": made.program.to_json(), "tokenizer": json.dumps(made.tokenizer).encode()}
    texts["generation"] = json.dumps(made.generation).encode()
    if made.program.capacity.sample:
        texts["adapted"] = json.dumps(document(header, made.program.capacity)).encode()
    return {"model": ("model.gguf", data)} | {name: (f"{name}.json", text) for name, text in texts.items()}


class Reference:
    """A GGUF file's graph in NumPy, in f64, with the file's own weights: what the engine must say."""

    def __init__(self, data):
        header = header_of(data)

        def weight(name):
            tensor = header.tensors[name]
            return tensor.type, data[tensor.offset : tensor.offset + tensor.bytes]

        self.engine = GraphEngine(Capacity(rows=128, wanted=1, sequences=1, context=128, page=16, sample=False))
        at_once(self.engine.load(build(header, None, 128), weight))

    def run(self, tokens, output, wanted=0):
        """The first row of an output after these tokens, alone."""
        rows = np.arange(len(tokens), dtype=np.int32)
        inputs = {"tokens": tokens, "positions": rows, "sequences": 0 * rows, "wanted": rows[-1:]}
        for name in set(inputs) & set(self.engine.buffers):
            at_once(self.engine.write(name, np.asarray(inputs[name], np.int32)))
        at_once(self.engine.run(n=len(tokens), m=wanted, s=1))
        return at_once(self.engine.read(output))[0]

    def logits(self, tokens):
        """(vocabulary,) after the last token."""
        return self.run(tokens, "logits", wanted=1)

    def greedy(self, tokens, count):
        """The next `count` tokens, the likeliest each time, and the smallest lead that one had over the second."""
        drawn, lead = list(tokens), np.inf
        for _ in range(count):
            logits = self.logits(drawn)
            second, first = np.partition(logits, -2)[-2:]
            lead = min(lead, first - second)
            drawn.append(int(logits.argmax()))
        return drawn[len(tokens) :], lead

    def vector(self, tokens):
        """(d,) of a text."""
        return self.run(tokens, "embedding")
