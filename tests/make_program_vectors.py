"""Write tests/vectors/program/: `python tests/make_program_vectors.py`, by hand when the kernels' table or a rule of Programs changes.

`table.json`: what an engine module says of itself. `good.json`: Programs with addresses and the records they are lowered to (one of them
is written out by hand in tests/unit/test_program_judge.py). `hostile.json`: changes to good ones, each with the code it must be refused by,
said here by a person and not by the code under test. `beside.json`: a model with its weights, Programs that teach it, what these read, and
the losses of two steps in NumPy, for engines that hold several Programs. `rules.json`: the judge's tables.
"""

import base64
import json
import sys
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "pysrc")]

from edgenet.graph import Capacity, Graph, compile  # noqa: E402
from edgenet.graph.lowering import lower  # noqa: E402
from edgenet.kernels.lm import layouts, table  # noqa: E402
from tests.unit.graph_models import FORMS, decoder, encoder, learner, rules  # noqa: E402

FOLDER = ROOT / "tests" / "vectors" / "program"
CAPACITY = {"rows": 8, "wanted": 2, "sequences": 2, "context": 32, "page": 4}


def elements() -> Graph:
    """What no model above uses: rows of a fixed number, rope alone, LoRA, products, a copy before what is overwritten."""
    g = Graph("elements")
    x, a, b = (g.input(n, "f32", s) for n, s in (("x", ("n", 16)), ("a", (4, 16)), ("b", (16, 4))))
    y = g.lora(g.mul(x, g.scale(x, -0.5)), x, a, b, 0.25)
    turned = g.rope(
        y, g.input("positions", "i32", ("n",)), g.constant("rates", [1, 0.1]), heads=2, head_dim=8, magnitude=1.5
    )
    z = g.glu(g.activation(turned, "relu"), g.softcap(g.add(turned, y), 30.0), "gelu")
    g.output("y", g.activation(z, "silu"))
    return g


def models() -> dict:
    """name -> Program."""
    one = {name: replace(form, layers=1) for name, form in FORMS.items()}
    graphs = {
        "llama": (decoder(replace(one["llama"], dtype="q4_0")), {"kv": "q4"}),
        "qwen3": (decoder(replace(one["qwen3"], dtype="q8_0")), {"kv": "q8"}),
        "gemma2": (decoder(replace(one["gemma2"], dtype="f16")), {"sample": False}),
        "phi2": (decoder(replace(one["phi2"], dtype="bf16")), {}),
        "encoder": (encoder(dtype="q5_k", layers=1, heads=8, head_dim=32, ffn=256), {"sample": False}),
        "elements": (elements(), {"sample": False}),
    }
    form = replace(one["llama"], dtype="q8_0")
    graphs |= {name: (graph, {"sample": False}) for name, graph in learner(form).items()}
    graphs["exact"] = learner(form)["train"], {"sample": False, "dots": "f32"}
    return {name: compile(graph, Capacity(**CAPACITY, **more)) for name, (graph, more) in graphs.items()}


def good(program) -> dict:
    """A Program, made-up addresses, and its records."""
    weights = [(1 << 20) + 4096 * i for i in range(len(program.weights))]
    addresses = {"constants": 1024, "arena": 65536, "kv": 1 << 19, "state": 3 << 18, "weights": weights}
    codes = [layouts.layout_of(w.type).code for w in program.weights]
    words = lower(program, addresses, codes)
    return {
        "program": program.to_data(),
        "addresses": addresses,
        "layouts": codes,
        "caches": program.caches(),
        "words": [int.from_bytes(words[i : i + 4], "little") for i in range(0, len(words), 4)],
    }


def beside() -> dict:
    """A decoder, what runs beside it, and what comes out."""
    from edgenet.run import NumpyEngine
    from tests.unit import test_programs_beside as t

    loaded = t.whole("q8_0")
    parts = learner(replace(t.FORM, dtype="q8_0"))
    losses, *_ = t.teach(t.opened(NumpyEngine(), "q8_0"), parts, dots="int8")
    g = Graph("sum")
    x = g.input("x", "f32", (1, 8))
    g.accumulate(g.state("total", (1, 8)), x)
    g.output("y", g.scale(x, 2.0))
    programs = {n: compile(p, t.CAPACITY) for n, p in {**parts, "sum": g}.items()}
    programs["loaded"] = compile(loaded, replace(t.CAPACITY, sample=True))  # as a page's engine wants it
    file = bytearray(max(w.offset + w.bytes for w in programs["loaded"].weights))
    for weight in programs["loaded"].weights:
        file[weight.offset : weight.offset + weight.bytes] = t.ranges(loaded)(weight.name)[1]
    return {
        "programs": {n: p.to_data() for n, p in programs.items()},
        "file": base64.b64encode(file).decode(),
        "rows": t.ROWS | t.LABELS,
        "hyper": [t.hyper_of(step).tolist() for step in (1, 2)],
        "start": base64.b64encode(t.start_of(parts).tobytes()).decode(),
        "losses": losses.tolist(),
    }


BAD, LARGE, OP, OPSET = "program_invalid", "program_too_large", "program_unknown_op", "program_opset"
WEIGHT = {"name": "w", "artifact": "model", "offset": 0, "bytes": 4, "type": "f32", "shape": [1]}
BUFFER = {"name": "b", "region": "arena", "offset": 0, "dtype": "f32", "shape": [1]}
SCALE = ["scale", [["arena", 0], ["arena", 0], ["slot", "n"], 1, 2.0], 0]
GONE = object()  # the value is taken away
# reason, base, path, value, code. A path's parts are joined by "/"; under "code", an op's name is its first instruction and an
# argument's name its place.
HOSTILE = [
    ("another format", "llama", "format", "edgenet-model", BAD),
    ("a later version", "llama", "version", 2, BAD),
    ("a version that is true", "llama", "version", True, BAD),
    ("an older table of kernels", "llama", "opset", 0, OPSET),
    ("a table of kernels that is true", "llama", "opset", True, OPSET),
    ("no table of kernels", "llama", "opset", GONE, OPSET),
    ("a name that is a number", "llama", "name", 7, BAD),
    ("no capacity", "llama", "capacity", GONE, BAD),
    ("a capacity that is a list", "llama", "capacity", [], BAD),
    ("no rows", "llama", "capacity/rows", 0, BAD),
    ("too many rows", "llama", "capacity/rows", 5000, BAD),
    ("rows that are true", "llama", "capacity/rows", True, BAD),
    ("half a row", "llama", "capacity/rows", 7.5, BAD),
    ("a context of no whole pages", "llama", "capacity/context", 30, BAD),
    ("a context beyond all limits", "llama", "capacity/context", (1 << 20) + 4, BAD),
    ("pages beyond all limits", "llama", "capacity/pages", (1 << 24) + 1, BAD),
    ("an unknown cache", "llama", "capacity/kv", "f16", BAD),
    ("a cache named after a property", "llama", "capacity/kv", "constructor", BAD),
    ("sampling that is a number", "llama", "capacity/sample", 1, BAD),
    ("a slot larger than the capacity", "llama", "slots/n", 9, BAD),
    ("a slot that is true where it is 1", "llama", "slots/m", True, BAD),
    ("a slot too many", "llama", "slots/k", 1, BAD),
    ("a slot missing", "llama", "slots/m", GONE, BAD),
    ("an arena of 4 GiB", "llama", "regions/arena", 1 << 32, LARGE),
    ("an arena of less than nothing", "llama", "regions/arena", -1, BAD),
    ("a cache of 1.5 bytes", "llama", "regions/kv", 1.5, BAD),
    ("a cache whose size is text", "llama", "regions/kv", "1", BAD),
    ("regions that make 4 GiB together", "llama", "regions/kv", (1 << 32) - 4096, LARGE),
    ("constants that are not base64", "llama", "constants", "AAA*", BAD),
    ("constants with white space", "llama", "constants", "AAAA ", BAD),
    ("constants without padding", "llama", "constants", "AAA", BAD),
    ("constants shorter than said", "llama", "constants", "AAAA", BAD),
    ("constants that are a list", "llama", "constants", [0], BAD),
    ("weights that are an object", "llama", "weights", {}, BAD),
    ("a weight that is null", "llama", "weights/0", None, BAD),
    ("a weight without a name", "llama", "weights/0/name", "", BAD),
    ("a weight of no file", "llama", "weights/0/artifact", GONE, BAD),
    ("a weight of an unknown type", "llama", "weights/0/type", "q9_9", BAD),
    ("a weight of a type that no kernel reads", "llama", "weights/0/type", "q2_k", BAD),
    ("a weight of a type named after a property", "llama", "weights/0/type", "__proto__", BAD),
    ("a weight of no axes", "llama", "weights/0/shape", [], BAD),
    ("a weight of three axes", "llama", "weights/0/shape", [1, 50, 64], BAD),
    ("a weight of no rows", "llama", "weights/0/shape", [0, 64], BAD),
    ("a weight of 2^106 numbers", "llama", "weights/0/shape", [2**53 - 1, 2**53 - 1], LARGE),
    ("a weight that lies about its bytes", "llama", "weights/0/bytes", 1801, BAD),
    ("a weight of no whole blocks", "llama", "weights/0/shape", [50, 65], BAD),
    ("a weight before its file", "llama", "weights/0/offset", -32, BAD),
    ("100 GB of weights", "llama", "weights/0", {**WEIGHT, "bytes": 1 << 37, "shape": [1 << 20, 1 << 15]}, LARGE),
    ("16385 weights", "llama", "weights", [WEIGHT] * 16385, LARGE),
    ("257 buffers", "llama", "buffers", [BUFFER] * 257, LARGE),
    ("a buffer in the cache", "llama", "buffers/0/region", "kv", BAD),
    ("a buffer behind the end", "llama", "buffers/0/offset", 1 << 30, BAD),
    ("a buffer between words", "llama", "buffers/0/offset", 2, BAD),
    ("a buffer of f64", "llama", "buffers/0/dtype", "f64", BAD),
    ("a buffer of an unknown slot", "llama", "buffers/0/shape", ["k"], BAD),
    ("a buffer of 2^40 words", "llama", "buffers/0/shape", [1 << 40], BAD),
    ("two buffers of one name", "llama", "buffers/0/name", "positions", BAD),
    ("a buffer that is null", "llama", "buffers/0", None, BAD),
    ("code that is an object", "llama", "code", {}, BAD),
    ("an instruction that is text", "llama", "code/0", "embed", BAD),
    ("an instruction without a barrier's bit", "llama", "code/0", ["embed", []], BAD),
    ("an op nobody knows", "llama", "code/0/0", "exec", OP),
    ("an op named after a property", "llama", "code/0/0", "__proto__", OP),
    ("an op that is a number", "llama", "code/0/0", 3, OP),
    ("an argument too few", "llama", "code/embed/1", [["weight", 0]], BAD),
    ("arguments that are an object", "llama", "code/embed/1", {}, BAD),
    ("a barrier's bit of 2", "llama", "code/embed/2", 2, BAD),
    ("a barrier's bit that is true", "llama", "code/embed/2", True, BAD),
    ("a width that is a slot", "llama", "code/embed/1/d", ["slot", "n"], BAD),
    ("rows of an unknown slot", "llama", "code/embed/1/n", ["slot", "k"], BAD),
    ("rows of a slot named after a property", "llama", "code/embed/1/n", ["slot", "toString"], BAD),
    ("rows that are an address", "llama", "code/embed/1/n", ["arena", 0], BAD),
    ("more rows than the arena holds", "llama", "code/embed/1/n", 1 << 20, BAD),
    ("less than no rows", "llama", "code/embed/1/n", -1, BAD),
    ("2^31 rows", "llama", "code/embed/1/n", 1 << 31, BAD),
    ("half a row of a kernel", "llama", "code/embed/1/n", 1.5, BAD),
    ("rows that are text", "llama", "code/embed/1/n", "8", BAD),
    ("rows that are null", "llama", "code/embed/1/n", None, BAD),
    ("a scale beyond f32", "llama", "code/embed/1/scale", 1e39, BAD),
    ("a scale that is true", "llama", "code/embed/1/scale", True, BAD),
    ("a scale that is an object", "llama", "code/embed/1/scale", {}, BAD),
    ("rows written behind the arena", "llama", "code/embed/1/y", ["arena", 1 << 20], BAD),
    ("rows written before the arena", "llama", "code/embed/1/y", ["arena", -64], BAD),
    ("rows written between words", "llama", "code/embed/1/y", ["arena", 30], BAD),
    ("rows written at half a byte", "llama", "code/embed/1/y", ["arena", 0.5], BAD),
    ("rows written into constants", "llama", "code/embed/1/y", ["constants", 0], BAD),
    ("rows written into the cache", "llama", "code/embed/1/y", ["kv", 0], BAD),
    ("rows written into a weight", "llama", "code/embed/1/y", ["weight", 0], BAD),
    ("rows written nowhere", "llama", "code/embed/1/y", 0, BAD),
    ("rows in a region named after a property", "llama", "code/embed/1/y", ["__proto__", 0], BAD),
    ("rows in a region that is a number", "llama", "code/embed/1/y", [7, 0], BAD),
    ("an offset that is a list", "llama", "code/embed/1/y", ["arena", [0]], BAD),
    ("token ids read from the cache", "llama", "code/embed/1/ids", ["kv", 0], BAD),
    ("token ids read from a weight", "llama", "code/embed/1/ids", ["weight", 1], BAD),
    ("rows written over the ids they come from", "llama", "code/embed/1/y", ["arena", "tokens"], BAD),
    ("a table of more tokens than the weight has", "llama", "code/embed/1/vocab", 51, BAD),
    ("a weight that is not there", "llama", "code/embed/1/table", ["weight", 99], BAD),
    ("a weight before the first", "llama", "code/embed/1/table", ["weight", -1], BAD),
    ("half a weight", "llama", "code/embed/1/table", ["weight", 0.5], BAD),
    ("a matrix in the arena", "llama", "code/embed/1/table", ["arena", 0], BAD),
    ("a matrix left out", "llama", "code/embed/1/table", 0, BAD),
    ("a matrix that is a norm's vector", "llama", "code/embed/1/table", ["weight", 1], BAD),
    ("a vector that is a matrix", "llama", "code/rms_norm_quantize/1/weight", ["weight", 0], BAD),
    ("an absent vector that is false", "llama", "code/rms_norm_quantize/1/weight", False, BAD),
    ("rows of no whole blocks", "llama", "code/quantize/1/d", 33, BAD),
    ("copies that overlap", "llama", "code/quantize/1/stride", 16, BAD),
    ("copies at odd places", "llama", "code/quantize/1/stride", 100001, BAD),
    ("copies behind the arena", "llama", "code/quantize/1/stride", 1 << 24, BAD),
    ("copies of rows that are not quantised", "gemma2", "code/matmul/1/stride", 1 << 12, BAD),
    ("a gate quantised and its partner not", "llama", "weights/gate", {"type": "f32", "bytes": 96 * 64 * 4}, BAD),
    ("keys in the arena", "llama", "code/rope_kv/1/kcache", ["arena", 0], BAD),
    ("values behind the cache", "llama", "code/rope_kv/1/vcache", ["kv", 1 << 20], BAD),
    ("more pages than the cache has", "llama", "code/rope_kv/1/cache_pages", 1 << 20, BAD),
    ("a cache of f32 in the bytes of q4", "llama", "code/rope_kv/1/kv_type", 0, BAD),
    ("a cache of no known type", "llama", "code/rope_kv/1/kv_type", 3, BAD),
    ("keys and values in one place", "llama", "code/rope_kv/1/vcache", ["kv", 0], BAD),
    ("a page table wider than its buffer", "llama", "code/attention/1/max_pages", 1 << 28, BAD),
    ("more heads than a row has", "llama", "code/attention/1/heads", 1 << 20, BAD),
    ("angles behind the constants", "llama", "code/rope_table/1/frequencies", ["constants", 64], BAD),
    ("a product written over its own rows", "gemma2", "code/matmul/1/y", ["arena", "x"], BAD),
    ("a barrier missing before rows are read", "llama", "code/embed/2", 0, BAD),
    ("a barrier missing before the cache is read", "llama", "code/rope_kv/2", 0, BAD),
    ("a barrier missing before another's rows are overwritten", "llama", "code/attention/2", 0, BAD),
    ("hundreds of instructions without a barrier", "llama", "code", [SCALE] * 200, BAD),
    ("hundreds of reads without a barrier", "elements", "code", [["argmax", [["constants", 0], ["arena", 64], 0, 1], 0]] * 257, LARGE),
    ("a state of 4 GiB", "train", "regions/state", 1 << 32, LARGE),
    ("a state of less than nothing", "train", "regions/state", -1, BAD),
    ("a state whose size is null", "train", "regions/state", None, BAD),
    ("a state that makes 4 GiB with the rest", "train", "regions/state", (1 << 32) - 4096, LARGE),
    ("states where the Program has no state", "train", "regions/state", GONE, BAD),
    ("a state behind the end", "train", "regions/state", 4096, BAD),
    ("a buffer behind the state", "train", "buffers/parameters/offset", 1 << 20, BAD),
    ("a buffer before the state", "train", "buffers/parameters/offset", -64, BAD),
    ("a buffer of the state between words", "train", "buffers/parameters/offset", 2, BAD),
    ("a buffer in a region named after a property", "train", "buffers/parameters/region", "__proto__", BAD),
    ("dots of an unknown kind", "train", "capacity/dots", "f16", BAD),
    ("dots named after a property", "train", "capacity/dots", "constructor", BAD),
    ("dots that are null", "train", "capacity/dots", None, BAD),
    ("adapters that are a number", "train", "capacity/adapters", 16, BAD),
    ("adapters that are null", "train", "capacity/adapters", None, BAD),
    ("adapters of no slots", "train", "capacity/adapters", {"slots": 0, "values": 1}, BAD),
    ("adapters of too many values", "train", "capacity/adapters", {"slots": 1, "values": (1 << 30) + 1}, BAD),
    ("adapters that say nothing of values", "train", "capacity/adapters", {"slots": 1}, BAD),
    ("factors read behind the state", "train", "code/dense/1/w", ["state", 1 << 20], BAD),
    ("factors read between words of the state", "train", "code/dense/1/w", ["state", 6], BAD),
    ("gradients added behind the state", "train", "code/accumulate/1/into", ["state", 1 << 20], BAD),
    ("gradients added into constants", "train", "code/accumulate/1/into", ["constants", 0], BAD),
    ("two gradients added in one place without a barrier", "train", "code/accumulate/1/into", ["state", 5632], BAD),
    ("gradients added nowhere", "train", "code/accumulate/1/into", 0, BAD),
    ("gradients added to themselves", "train", "code/accumulate/1/x", ["arena", "into"], BAD),
    ("a product into the state that it reads", "train", "code/dense/1/y", ["state", 0], BAD),
    ("logits in a state too small for them", "train", "code/token_stats/1/logits", ["state", 18432 - 64], BAD),
    ("targets in the cache", "train", "code/token_stats/1/targets", ["kv", 0], BAD),
    ("more tokens of a chunk than there are", "train", "code/cross_entropy_grad/1/v", 1 << 20, BAD),
    ("a product by a transposed matrix of another shape", "train", "code/matmul_t/1/in", 96, BAD),
    ("quantised rows of another width", "train", "code/matmul_t_int8/1/out", 96, BAD),
    ("more parameters than the state has", "update", "code/adamw/1/count", 1 << 20, BAD),
    ("moments where the parameters lie", "update", "code/adamw/1/first", ["state", 0], BAD),
    ("a norm written into what it is the norm of", "update", "code/norm/1/y", ["state", "x"], BAD),
    ("a barrier missing before the parameters change", "update", "code/norm/2", 0, BAD),
    ("a table of adapters of no such row", "train", "code/accumulate/0", "adapters", BAD),
    ("the document is a list", "llama", "", [], BAD),
    ("the document is null", "llama", "", None, BAD),
]  # fmt: skip
TEXTS = [  # reason, text: what is not even JSON
    ("nothing", ""),
    ("half a document", '{"format": "edgenet-program"'),
    ("not a number", '{"format": "edgenet-program", "version": NaN}'),
    ("a number beyond 2^53", '{"format": "edgenet-program", "version": 1, "opset": 90071992547409921}'),
    ("a number beyond all", '{"format": "edgenet-program", "version": 1, "opset": 1e999}'),
    ("a lone surrogate", '{"format": "edgenet-program", "name": "\\ud800"}'),
    ("100,000 lists in one another", "[" * 100_000),
]


def step(at, part: str):
    """The key of one part of a path, at this place of the document."""
    if isinstance(at, dict):
        return part
    if part.isdigit():
        return int(part)
    if at and isinstance(at[0], dict):  # weights by the end of their name
        return next(i for i, item in enumerate(at) if item["name"].endswith(part))
    return next(i for i, item in enumerate(at) if item[0] == part)


def resolved(program: dict, row: tuple) -> dict:
    """The row with a path of keys and numbers; `times`: the value is a list of so many of its first item."""
    reason, base, path, value, code = row
    at, keys, named = program, [], {}
    for part in filter(None, path.split("/")):
        if len(keys) == 3 and keys[0] == "code" and not part.isdigit():
            args = [a.name for a in table.op(program["code"][keys[1]][0]).args]
            named = dict(zip(args, at, strict=True))
            keys.append(args.index(part))
        else:
            keys.append(step(at, part))
        at = at[keys[-1]] if not isinstance(at, dict) or keys[-1] in at else None
    if isinstance(value, list) and value[:1] in (["arena"], ["state"]) and isinstance(value[1], str):
        buffer = next((b for b in program["buffers"] if b["name"] == value[1]), None)
        value = ["arena", buffer["offset"]] if buffer else named[value[1]]
    if isinstance(value, dict) and isinstance(at, dict) and value and path.startswith("weights/gate"):
        value = {**at, **value}
    found = {"reason": reason, "base": base, "path": keys, "code": code}
    if value is GONE:
        return found
    if isinstance(value, list) and len(value) > 100:
        return {**found, "value": value[0], "times": len(value)}
    return {**found, "value": value}


def write(name: str, value) -> None:
    rows = ",\n".join(json.dumps(v, separators=(",", ":")) for v in value) if isinstance(value, list) else None
    text = f"[\n{rows}\n]\n" if rows else json.dumps(value, separators=(",", ":")) + "\n"
    (FOLDER / name).write_text(text, encoding="utf-8")
    print(name, len(text))


if __name__ == "__main__":
    programs = models()
    write("table.json", table.describe())
    write("rules.json", rules())
    write("good.json", [{"name": name, **good(p)} for name, p in programs.items()])
    write("beside.json", beside())
    rows = [resolved(programs[row[1]].to_data(), row) for row in HOSTILE]
    short = [(r, t) if len(t) < 1000 else (r, t[:1], len(t)) for r, t in TEXTS]
    texts = [{"reason": r, "text": t, "code": BAD, **({"times": n[0]} if n else {})} for r, t, *n in short]
    write("hostile.json", rows + texts)
