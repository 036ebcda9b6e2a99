"""What compiling makes of a graph: fused kernels, few barriers, memory that nobody else touches, judged by checkers of their own."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from edgenet.errors import InvalidGraph, ProgramTooLarge, UnsupportedFeature
from edgenet.graph import Capacity, Graph, Program, compile
from edgenet.graph.schedule import Life, place
from edgenet.kernels.lm import table
from tests.unit.graph_models import FORMS, Form, decoder, encoder, learner, tangle

CAPACITY = Capacity(rows=24, wanted=3, sequences=3, context=64, page=4)
WIDE = Capacity(rows=72, wanted=3, sequences=3, context=64, page=4)  # rows that threads share
DTYPES = ("f32", "f16", "q8_0", "q4_0")
QUANTISED = {name: Form(**{**form.__dict__, "dtype": "q4_0"}) for name, form in FORMS.items()}
GRAPHS = {
    f"{name} {dtype}": decoder(Form(**{**form.__dict__, "dtype": dtype}))
    for name, form in FORMS.items()
    for dtype in DTYPES
}
GRAPHS |= {f"encoder {dtype}": encoder(dtype=dtype) for dtype in DTYPES}
GRAPHS |= {f"tangle {seed}": tangle(np.random.default_rng(seed)) for seed in range(30)}
GRAPHS |= {
    f"{part} {dtype}": graph
    for dtype in DTYPES
    for part, graph in learner(Form(**{**FORMS["llama"].__dict__, "dtype": dtype})).items()
}
EXACT = replace(CAPACITY, dots="f32")
every_capacity = pytest.mark.parametrize("capacity", [CAPACITY, WIDE, EXACT], ids=["few", "many", "exact"])
every_graph = pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)


def ops(program):
    return [i.op for i in program.code]


def layer_of(name):
    """Ops of the second of three layers: what repeats."""
    code = ops(compile(decoder(Form(**{**QUANTISED[name].__dict__, "layers": 3})), CAPACITY))
    starts = [i for i, op in enumerate(code) if op in ("rms_norm_quantize", "layer_norm_quantize")]
    first, second = [i for i, op in enumerate(code) if op == "rope_kv"][1:]
    return code[max(s for s in starts if s < first) : max(s for s in starts if s < second)]


FUSED = {
    "llama": "rms_norm_quantize matmul matmul matmul rope_kv attention quantize matmul rms_norm_quantize gated quantize matmul",
    "qwen2": "rms_norm_quantize matmul matmul matmul rope_kv attention quantize matmul"
    " rms_norm_quantize matmul matmul glu quantize matmul",  # a bias on the gate's partner keeps them apart
    "qwen3": "rms_norm_quantize matmul matmul matmul rope_kv attention quantize matmul rms_norm_quantize gated quantize matmul",
    "gemma2": "rms_norm_quantize matmul matmul matmul rope_kv attention quantize matmul rms_norm add"
    " rms_norm_quantize gated quantize matmul rms_norm add",
    "phi2": "layer_norm_quantize matmul matmul matmul rope_kv attention quantize matmul matmul quantize matmul",
}


@pytest.mark.parametrize("name", FUSED)
def test_a_layer_becomes_these_kernels(name):
    assert " ".join(layer_of(name)) == FUSED[name]


@pytest.mark.parametrize("dtype", ["q8_0", "q4_0"])
@pytest.mark.parametrize("name", ["llama", "qwen3"])
def test_a_layer_of_the_llama_family_has_at_most_six_barriers(name, dtype):
    counts = [
        sum(
            i.sync
            for i in compile(decoder(Form(**{**FORMS[name].__dict__, "dtype": dtype, "layers": layers})), CAPACITY).code
        )
        for layers in (1, 2, 3, 4)
    ]
    assert all(b - a <= 6 for a, b in pairwise(counts)), counts


def test_angles_are_computed_once_and_for_all_layers():
    assert ops(compile(decoder(FORMS["llama"]), CAPACITY)).count("rope_table") == 1


def test_many_rows_are_quantised_once_and_few_by_every_thread_for_itself():
    few, many = (compile(encoder(dtype="q8_0"), Capacity(rows=rows, sample=False)) for rows in (64, 65))
    assert few.peak > 2 * many.peak
    assert sum(i.sync for i in many.code) > sum(i.sync for i in few.code)
    strides = [i.arguments[-1] for i in many.code if i.op in ("quantize", "matmul")]
    assert len(strides) > 10 and set(strides) == {0}


def touched(program):
    """For each instruction: (argument, region, first byte, bytes, writes, private) at the largest sizes, from the kernels' table."""
    slots, weights = program.capacity.slots, program.weights
    for instruction in program.code:
        row = table.op(instruction.op)
        named = list(zip(row.args, instruction.arguments, strict=True))
        values = {a.name: slots[v[1]] if isinstance(v, tuple) else v for a, v in named if a.kind == "value"}
        types = [weights[v[1]].type for a, v in named if a.kind == "weight"] or ["f32"]
        found = []
        for arg, value in named:
            if (
                arg.kind not in ("value", "weight")
                and isinstance(value, tuple)
                and value[0] in ("arena", "kv", "state")
            ):
                size = table.extent(arg, values, types[0])
                private = bool(values.get("stride")) and arg.dtype in ("q8", "rows")
                found.append((arg.name, *value, size, arg.kind, private))
        yield instruction, found


@every_capacity
@every_graph
def test_what_is_read_is_whole_and_was_written_as_it_is_read(graph, capacity):
    """Each byte remembers who wrote it last: a read must find one writer, of just its first byte and at least its length."""
    program = compile(graph, capacity)
    sizes = {name: np.full(size, -1) for name, size in program.regions.items() if name != "constants"}
    sizes["kv"][:] = -2  # caches hold what earlier runs stored
    starts = {-2: None}
    for i, buffer in enumerate(program.buffers):
        count = int(np.prod([program.capacity.slots.get(s, s) for s in buffer.shape])) * 4
        sizes[buffer.region][buffer.offset : buffer.offset + count] = 10**6 + i
        starts[10**6 + i] = buffer.offset
    for number, (instruction, arrays) in enumerate(touched(program)):
        for name, region, start, size, kind, _ in arrays:
            if kind in ("in", "inout") and region == "arena":
                writers = np.unique(sizes[region][start : start + size])
                assert len(writers) == 1 and starts[writers[0]] == start, (number, instruction.op, name)
        for _, region, start, size, kind, _ in arrays:
            if kind != "in" and region == "arena":
                sizes[region][start : start + size] = number * 100 + int(start % 97 != 0)
                starts[number * 100 + int(start % 97 != 0)] = start


@every_capacity
@every_graph
def test_threads_between_two_barriers_never_meet(graph, capacity):
    """Byte by byte: what one instruction writes no other of the same phase touches, but for private copies of one thread."""
    program = compile(graph, capacity)
    sizes = {name: program.regions.get(name, 0) for name in ("arena", "state")}
    writers, readers = ({name: np.full(size, -1) for name, size in sizes.items()} for _ in range(2))
    for number, (instruction, arrays) in enumerate(touched(program)):
        for name, region, start, count, kind, private in arrays:
            part = slice(start, start + count)
            mark = 10**6 + start if private else number
            if region in sizes:
                assert set(np.unique(writers[region][part])) <= {-1, mark}, (number, instruction.op, name)
                unread = set(np.unique(readers[region][part])) <= {-1, mark}
                assert kind == "in" or unread, (number, instruction.op, name)
        for _, region, start, count, kind, private in arrays:
            if region in sizes:
                touched_by = readers if kind == "in" else writers
                touched_by[region][start : start + count] = 10**6 + start if private else number
        if instruction.sync:
            for marks in (*writers.values(), *readers.values()):
                marks[:] = -1


@every_graph
def test_a_program_survives_its_json(graph):
    program = compile(graph, CAPACITY)
    assert Program.from_json(program.to_json()) == program


def test_a_capacity_says_of_training_only_what_is_not_the_default():
    plain = compile(decoder(FORMS["llama"]), CAPACITY)
    taught = compile(decoder(FORMS["llama"]), replace(EXACT, adapters={"slots": 2, "values": 64}))
    assert not {"dots", "adapters"} & set(plain.to_data()["capacity"]) and "state" not in plain.to_data()["regions"]
    assert taught.to_data()["capacity"]["adapters"] == {"slots": 2, "values": 64}
    assert Program.from_json(taught.to_json()) == taught and taught.capacity.adapters.values == 64


@pytest.mark.parametrize("more", [{"dots": "f16"}, {"adapters": {"slots": 0, "values": 1}}, {"adapters": {"slots": 1}}])
def test_a_capacity_of_training_is_judged(more):
    with pytest.raises(InvalidGraph):
        replace(CAPACITY, **more)


def test_memory_is_shared_between_what_never_lives_together():
    """Twelve layers need no more than three."""
    three, twelve = (compile(decoder(Form(layers=n, dtype="q8_0")), CAPACITY).peak for n in (3, 12))
    assert twelve == three


def test_places_never_overlap_in_a_phase_and_are_not_far_above_the_least():
    rng = np.random.default_rng(0)
    for _ in range(200):
        first = rng.integers(0, 30, 40)
        lives = {
            f"t{i}": Life(int(rng.integers(1, 5000)), int(f), int(f + rng.integers(0, 6))) for i, f in enumerate(first)
        }
        offsets, peak = place(lives)
        used = np.zeros((37, peak), np.int8)
        for name, life in lives.items():
            used[life.first : life.last + 1, offsets[name] : offsets[name] + life.size] += 1
        assert used.max() == 1 and all(o % 64 == 0 for o in offsets.values())
        assert peak <= 1.6 * max(used.sum(axis=1))


def test_what_something_else_reads_is_copied_before_it_is_overwritten():
    g = Graph()
    x, positions = g.scale(g.input("x", "f32", ("n", 32)), 2.0), g.input("positions", "i32", ("n",))
    g.output("turned", g.rope(x, positions, g.constant("f", [1, 2]), heads=2, head_dim=16))
    g.output("kept", x)
    assert ops(compile(g, CAPACITY)) == ["rope_table", "scale", "scale", "rope"]


TAUGHT = learner(replace(FORMS["llama"], layers=1, dtype="q8_0"))
CHOSEN = [
    # below the first adapter no gradient passes, and the second chunk of 18 rows is no whole block
    ("int8", {"matmul", "matmul_int8", "matmul_t_int8", "matmul_t"}),
    ("f32", {"matmul_f32", "matmul_t"}),
]


def test_weights_of_16_bits_are_expanded_where_rows_are_many():
    code = ops(compile(learner(replace(FORMS["llama"], layers=1, dtype="f16"))["train"], CAPACITY))
    assert {op for op in code if op.startswith("matmul")} == {"matmul", "matmul_f32", "matmul_t"}


@pytest.mark.parametrize(("dots", "kernels"), CHOSEN, ids=[c[0] for c in CHOSEN])
def test_quantised_weights_are_multiplied_as_the_capacity_says(dots, kernels):
    code = ops(compile(TAUGHT["train"], replace(CAPACITY, dots=dots)))
    assert {op for op in code if op.startswith("matmul")} == kernels
    assert ("quantize" in code) == (dots == "int8")


def test_gradients_are_added_where_products_are_written():
    """No `add` of what is a product of one reader: four gradients of x meet in three products and none in an addition."""
    program = compile(TAUGHT["train"], EXACT)
    summed = [i for i in program.code if i.op in ("matmul_t", "dense_t") and i.arguments[2] != 0]
    assert len(summed) >= 3 and {"head_norm", "rms_norm_grad"} <= set(ops(program))
    assert ops(program).count("rope_table") == 2  # forward, and with negated frequencies for q and k of all layers


def test_states_lie_in_their_order_and_every_program_agrees():
    programs = [compile(graph, CAPACITY) for graph in TAUGHT.values()]
    states = [[b for b in p.buffers if b.region == "state"] for p in programs]
    assert states[0] == states[1] and [b.name for b in states[0]] == ["parameters", "gradients", "first", "second"]
    assert all(b.offset % 64 == 0 for b in states[0])
    assert {p.regions["state"] for p in programs} == {4 * -(-4 * states[0][0].shape[0] // 64) * 64}


def test_a_state_is_read_before_it_is_changed_as_the_graph_has_it():
    """A product by a state may not wait for the addition behind it, once something between changes the state."""
    g = Graph()
    x, state = g.input("x", "f32", (4, 32)), g.state("w", (32, 32))
    early = g.dense_t(x, state)
    g.accumulate(state, g.outer(x, x))
    g.output("y", g.add(early, x))
    code = ops(compile(g, CAPACITY))
    assert code.index("dense_t") < code.index("accumulate") and "add" in code


def test_parts_of_a_state_that_are_apart_need_no_barrier_between():
    def barriers(second):
        g = Graph()
        x, state = g.input("x", "f32", (2, 8)), g.state("w", (64,))
        for i, offset in enumerate((0, second)):
            g.accumulate(g.part(state, offset, (2, 8), f"p{i}"), x)
        g.output("y", g.scale(x, 2.0))
        return sum(i.sync for i in compile(g, CAPACITY).code)

    assert (barriers(16), barriers(15)) == (0, 1)


def test_sampling_is_appended_when_asked():
    program = compile(decoder(FORMS["llama"]), CAPACITY)
    assert program.code[-1].op == "sample" and {"sampling", "history", "picked"} <= {b.name for b in program.buffers}
    silent = compile(decoder(FORMS["llama"]), Capacity(sample=False))
    assert "sample" not in ops(silent) and "picked" not in {b.name for b in silent.buffers}
    assert "picked" not in {b.name for b in compile(encoder(), CAPACITY).buffers}


def test_weights_lie_where_they_are_said_to_lie():
    places = {}

    def locate(name):
        return places.setdefault(name, ("part-2" if "gate" in name else "part-1", 1000 + 64 * len(places)))

    program = compile(decoder(FORMS["llama"]), CAPACITY, locate)
    assert {w.name: (w.artifact, w.offset) for w in program.weights} == places
    packed = sorted((w.offset, w.bytes) for w in compile(decoder(FORMS["llama"]), CAPACITY).weights)
    assert all(a + size <= b < a + size + 32 for (a, size), (b, _) in pairwise(packed))


def test_caches_lie_one_after_another_and_fill_their_region():
    for kv, bits in (("f32", 128 * 4), ("q8", 128 + 8 * 4), ("q4", 64 + 8 * 4)):
        program = compile(decoder(FORMS["llama"]), Capacity(context=64, page=4, sequences=3, kv=kv))
        caches = program.caches()
        assert [c["page"] for c in caches] == [bits] * 4
        assert all(a["offset"] + 48 * a["page"] <= b["offset"] for a, b in pairwise(caches))
        assert caches[-1]["offset"] + 48 * bits <= program.regions["kv"] < caches[-1]["offset"] + 48 * bits + 64


def _product(g, rows, dtype, out, width):
    return g.matmul(g.input("x", "f32", (rows, width)), g.weight("w", (out, width), dtype))


def _lora(g):
    x, a, b = g.input("x", "f32", ("m", 8)), g.weight("a", (2, 8), "f32"), g.weight("b", (8, 2), "f32")
    return g.lora(g.scale(x, 2.0), x, a, b, 1.0)


def _heads(g, width):
    q = g.input("q", "f32", ("n", 2 * width))
    shape = {"heads": 2, "kv_heads": 2, "head_dim": width, "scale": 1}
    return g.attention_packed(q, q, q, g.input("sequences", "i32", ("n",)), **shape)


REFUSED = [
    ("heads of odd width", lambda g: _heads(g, 6), InvalidGraph),
    ("heads wider than a kernel holds", lambda g: _heads(g, 320), InvalidGraph),
    ("logits of all rows", lambda g: _product(g, "n", "f32", 9, 32), InvalidGraph),
    ("a type no kernel multiplies", lambda g: _product(g, "m", "q2_k", 9, 256), UnsupportedFeature),
    ("LoRA factors of the file", _lora, InvalidGraph),
    ("a name of the compiler's own", lambda g: g.scale(g.input("history", "f32", ("m", 8)), 2.0), InvalidGraph),
    ("a model beyond 4 GiB", lambda g: _product(g, "m", "f32", 1 << 15, 1 << 16), ProgramTooLarge),
]


@pytest.mark.parametrize(("build", "error"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_what_no_kernel_can_run_is_refused(build, error):
    graph = Graph()
    graph.output("logits", build(graph))
    with pytest.raises(error):
        compile(graph, CAPACITY)


def test_narrow_heads_need_a_cache_of_f32():
    graph = decoder(Form(head_dim=24, heads=2, kv_heads=1))
    compile(graph, CAPACITY)
    with pytest.raises(InvalidGraph, match='Keep K and V as "f32"'):
        compile(graph, Capacity(kv="q4"))
