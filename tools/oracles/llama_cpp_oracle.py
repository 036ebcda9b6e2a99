"""The small models in llama.cpp: GGUF files written by the `gguf` package, run by llama-cpp-python. CPython with both."""

import ctypes
import tempfile
from pathlib import Path

import gguf
import llama_cpp as api
import numpy as np
from gguf.quants import quantize

from tools.gguf_file import is_quantised
from tools.oracles.small_models import ENCODERS, packed, vocabulary

TYPES = ("F32", "Q8_0", "Q4_0")
GREEDY = 12  # tokens drawn after the first prompt
_QUIET = api.llama_log_callback(lambda *_: None)  # kept here: the library holds only its address
api.llama_backend_init()
api.llama_log_set(_QUIET, ctypes.c_void_p(0))


def write(small, path: Path, kind: str) -> None:
    """The model as GGUF; matrices of type `kind`, what is short or looked up by position in F32."""
    writer = gguf.GGUFWriter(path, small.architecture)
    for key, value in (small.metadata | vocabulary(small)).items():
        if key != "general.architecture":
            add(writer, key, value)
    wanted = gguf.GGMLQuantizationType[kind]
    blocks = small.blocks()
    for name, (given, raw) in blocks.items():
        rows = np.frombuffer(raw, np.uint8).reshape(small.shapes()[name][0], -1)
        writer.add_tensor(name, rows, raw_dtype=gguf.GGMLQuantizationType[given.upper()])
    for name, values in small.tensors().items():
        if name in blocks:
            continue
        used = wanted if is_quantised(name, values.shape) else gguf.GGMLQuantizationType.F32
        writer.add_tensor(name, quantize(values, used), raw_dtype=used)
    for step in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file, writer.close):
        step()


def add(writer, key: str, value) -> None:
    kinds = ((bool, writer.add_bool), (str, writer.add_string), (int, writer.add_uint32), (float, writer.add_float32))
    next((put for kind, put in kinds if isinstance(value, kind)), writer.add_array)(key, value)


def opened(path: Path, small, rows: int = 128):
    """(model, context): K and V in F32, no flash attention, one thread."""
    plain = api.llama_model_default_params()
    plain.use_extra_bufts = False  # repacked weights: its AMX product crashes on matrices as small as these
    model = api.llama_model_load_from_file(str(path).encode(), plain)
    assert model, f"llama.cpp refuses {path}"
    asked = api.llama_context_default_params()
    asked.n_ctx, asked.n_batch, asked.n_ubatch, asked.n_seq_max = rows, rows, rows, 1
    asked.n_threads = asked.n_threads_batch = 1
    asked.type_k = asked.type_v = int(gguf.GGMLQuantizationType.F32)
    asked.flash_attn_type = 0
    asked.embeddings = small.architecture in ENCODERS
    return model, api.llama_init_from_model(model, asked)


def logits(context, tokens: list[int], past: int, width: int) -> np.ndarray:
    """(width,) f32: what follows the tokens, which stand at positions from `past`."""
    batch = api.llama_batch_init(len(tokens), 0, 1)
    batch.n_tokens = len(tokens)
    for i, token in enumerate(tokens):
        batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0] = token, past + i, 1, 0
        batch.logits[i] = i == len(tokens) - 1
    assert api.llama_decode(context, batch) == 0
    api.llama_batch_free(batch)
    if width < 0:
        return np.ctypeslib.as_array(api.llama_get_embeddings_seq(context, 0), (-width,)).copy()
    return np.ctypeslib.as_array(api.llama_get_logits_ith(context, -1), (width,)).copy()


def run(small, kind: str, task):
    """task(context, clear) on the model quantised to `kind`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        write(small, path, kind)
        model, context = opened(path, small)
        try:
            return task(context, lambda: api.llama_memory_clear(api.llama_get_memory(context), True))
        finally:
            api.llama_free(context)
            api.llama_model_free(model)


def answers(small, prompts: list[list[int]]) -> dict:
    """{type: {"logits": [last row of each prompt], "greedy": tokens after the first}}."""

    def task(context, clear):
        rows = []
        for prompt in prompts:
            clear()
            rows.append(packed(logits(context, prompt, 0, small.vocabulary)))
        clear()
        return {"logits": rows, "greedy": greedy(context, prompts[0], small.vocabulary)}

    return {kind: run(small, kind, task) for kind in (("F32",) if small.mixed else TYPES)}


def greedy(context, prompt: list[int], vocabulary: int) -> list[int]:
    tokens, past, feed = [], 0, prompt
    while len(tokens) < GREEDY:
        tokens.append(int(logits(context, feed, past, vocabulary).argmax()))
        past, feed = past + len(feed), tokens[-1:]
    return tokens


def vectors(small, prompts: list[list[int]]) -> dict:
    """{type: [unit vector of each prompt]}."""

    def task(context, clear):
        rows = (logits(context, prompt, 0, -small.sizes()["d"]) for prompt in prompts)
        return {"vectors": [packed(v / np.linalg.norm(v)) for v in rows]}

    return {kind: run(small, kind, task) for kind in TYPES}
