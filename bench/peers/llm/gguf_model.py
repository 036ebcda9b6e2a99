"""The random decoder as GGUF, blocks filled directly with random bits and one sensible scale. Written by the `gguf` package, so that
neither side reads a file of our own making. Types are those of llama.cpp's own quantiser for this shape."""

from pathlib import Path

import gguf
import numpy as np

from bench.peers.llm.shapes import QWEN05, Shape

Q = gguf.GGMLQuantizationType
# type → (weights to a block, random bytes to a block, standard deviation of the stored integers)
BLOCKS = {Q.Q4_0: (32, 16, 4.6), Q.Q8_0: (32, 32, 73.0)}
STD = 0.02


def blocks(draw, kind, rows, columns):
    """u8 (rows, bytes of a row): scale first, then random integers."""
    size, payload, spread = BLOCKS[kind]
    count = rows * columns // size
    scale = np.tile(np.frombuffer(np.float16(STD / spread).tobytes(), np.uint8), (count, 1))
    return np.concatenate([scale, draw.integers(0, 256, (count, payload), np.uint8)], 1).reshape(rows, -1)


def byte_letters():
    """Stand-ins of the 256 bytes in a byte-level vocabulary (GPT-2): printable ones are themselves."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(b if b in kept else next(others)) for b in range(256)]


def describe(writer, s: Shape):
    writer.add_name("random Qwen2 0.5B")
    writer.add_context_length(s.context)
    writer.add_embedding_length(s.hidden)
    writer.add_block_count(s.layers)
    writer.add_feed_forward_length(s.ffn)
    writer.add_head_count(s.heads)
    writer.add_head_count_kv(s.kv_heads)
    writer.add_rope_freq_base(s.rope_theta)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_0)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list([*byte_letters(), *(f"t{i}" for i in range(256, s.vocab - 1)), "<|endoftext|>"])
    writer.add_token_types([1] * (s.vocab - 1) + [3])
    writer.add_token_merges(["t h"])
    writer.add_eos_token_id(s.vocab - 1)
    writer.add_add_bos_token(False)


def tensors(draw, s: Shape, kind):
    """(name, array, type or None) in the file's order; the tied output matrix is Q8_0."""

    def matrix(name, rows, columns, of=kind):
        return name, blocks(draw, of, rows, columns), of

    def row(name, n, ones=False):
        return name, np.ones(n, np.float32) if ones else draw.normal(0, STD, n).astype(np.float32), None

    yield matrix("token_embd.weight", s.vocab, s.hidden, Q.Q8_0)
    yield row("output_norm.weight", s.hidden, ones=True)
    for i in range(s.layers):
        at = f"blk.{i}."
        yield row(at + "attn_norm.weight", s.hidden, ones=True)
        for name, rows in (("q", s.hidden), ("k", s.kv), ("v", s.kv)):
            yield matrix(f"{at}attn_{name}.weight", rows, s.hidden)
            yield row(f"{at}attn_{name}.bias", rows)
        yield matrix(at + "attn_output.weight", s.hidden, s.hidden)
        yield row(at + "ffn_norm.weight", s.hidden, ones=True)
        yield matrix(at + "ffn_gate.weight", s.ffn, s.hidden)
        yield matrix(at + "ffn_up.weight", s.ffn, s.hidden)
        yield matrix(at + "ffn_down.weight", s.hidden, s.ffn)


def write(path: Path, kind="q4_0", shape=QWEN05):
    """Write the file, whole or not at all."""
    part = path.with_suffix(".part")
    writer = gguf.GGUFWriter(str(part), "qwen2")
    describe(writer, shape)
    for name, array, of in tensors(np.random.default_rng(0), shape, Q[kind.upper()]):
        writer.add_tensor(name, array, raw_dtype=of)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    part.replace(path)
