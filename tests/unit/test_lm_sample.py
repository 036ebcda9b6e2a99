"""Drawing tokens: Philox against its published vectors, the filters against their definitions, and the same token in every build."""

import numpy as np
import pytest

from edgenet.host.wasmtime_engine import WasmtimeRuntime
from edgenet.host.wasmtime_lm import LmKernels
from edgenet.kernels.lm.record import plan
from edgenet.kernels.lm.sample import ONE, Sampling, exp_f32, kept, penalized, philox, pick, weights_of
from edgenet.kernels.lm.table import op

# Random123 1.14, tests/kat_vectors: philox 4x32, 10 rounds: (counter, key, output)
KNOWN = (
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
)


@pytest.fixture(scope="module")
def kernels(lm_modules):
    with WasmtimeRuntime(tick_ms=5, budget=4000) as runtime:
        yield {name: LmKernels(runtime, data) for name, data in lm_modules.items()}


@pytest.mark.parametrize("counter,key,want", KNOWN)
def test_philox_gives_the_published_numbers(counter, key, want):
    assert philox(key, counter) == want


def test_exp_is_near_the_real_one():
    x = np.linspace(-87, 88, 200_001).astype(np.float32)
    assert np.abs(exp_f32(x) / np.exp(x.astype(np.float64)) - 1).max() < 2e-7
    assert exp_f32(np.float32([0.0]))[0] == 1


def values_of(logits, rows, history=None):
    m, v = logits.shape
    none = np.zeros((m, 256), np.int32)
    return {
        "logits": logits,
        "params": np.array([r.words() for r in rows]),
        "history": none if history is None else history,
        "m": m,
        "v": v,
    }


@pytest.mark.parametrize("build", ["simd", "relaxed"])
def test_tokens_come_as_often_as_the_softmax_says(kernels, build):
    rng = np.random.default_rng(4)
    logits = np.repeat(rng.standard_normal((1, 12)).astype(np.float32) * 2, 4000, axis=0)
    _, out = kernels[build].call(
        "sample", values_of(logits, [Sampling(seed=99, step=i, temperature=0.9) for i in range(4000)])
    )
    p = np.exp(logits[0].astype(np.float64) / 0.9)
    expected = 4000 * p / p.sum()
    found = np.bincount(out["picked"], minlength=12)
    assert ((found - expected) ** 2 / expected).sum() < 31  # chi square, 11 degrees: 1 in 1000; the draws are fixed


@pytest.mark.parametrize("temperature", [1e-3, 1e-37, 1e-40])
@pytest.mark.parametrize("build", ["simd", "relaxed"])
def test_the_colder_it_is_the_surer_the_best_token(kernels, build, temperature):
    logits = np.float32([[-40, 50, 49.9, -np.inf, 0]])
    code, out = kernels[build].call("sample", values_of(logits, [Sampling(temperature=temperature, seed=1)]))
    assert (code, out["picked"].tolist()) == (0, [1])
    assert pick(logits[0], Sampling(temperature=temperature, seed=1), np.zeros(256, np.int32)) == (0, 1)


VOCABULARY = 9000  # more than the kernel's list of heavy tokens holds


@pytest.mark.parametrize("build", ["simd", "relaxed"])
@pytest.mark.parametrize("spread", [0.01, 1, 4, 12])
@pytest.mark.parametrize(
    "setting",
    [
        {},
        {"top_k": 5000},
        {"top_k": 50, "top_p": 0.9},
        {"top_p": 0.95},
        {"top_p": 0.9999},
        {"min_p": 0.05},
        {"top_p": 0.99, "min_p": 1e-6},
    ],
)
def test_a_large_vocabulary_gives_the_reference_tokens(kernels, build, spread, setting):
    rng = np.random.default_rng(int(spread * 100))
    logits = rng.standard_normal((6, VOCABULARY)).astype(np.float32) * np.float32(spread)
    values = values_of(logits, [Sampling(seed=7, step=i, **setting) for i in range(6)])
    code, out = kernels[build].call("sample", values)
    want_code, want = op("sample").reference(values)
    assert (code, out["picked"].tolist()) == (want_code, want["picked"].tolist())


@pytest.mark.parametrize("build", ["simd", "relaxed"])
@pytest.mark.parametrize("allowed", [[5], [0, 36], [31, 32, 33], []])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_masked_token_is_never_drawn(kernels, build, allowed, temperature):
    it, rng = kernels[build], np.random.default_rng(1)
    logits, mask = rng.standard_normal((1, 37)).astype(np.float32), np.isin(np.arange(37), allowed)
    for step in range(8):
        values = values_of(logits, [Sampling(temperature=temperature, seed=3, step=step)])
        at = plan(op("sample"), values, it.instance.heap_base)
        words = np.packbits(np.resize(np.r_[mask, np.zeros(27, bool)], 64), bitorder="little")
        it.place(at, it.instance.heap_base)
        it.instance.reserve(at.end + 64)
        it.instance.write(at.end, words.tobytes())
        it.instance.write(at["params"].offset + 48, at.end.to_bytes(4, "little"))
        code = it.instance.call("run", at.program_at, 0, 1)
        picked = np.frombuffer(it.instance.read(at["picked"].offset, 4), np.int32)[0]
        want_code, want = pick(
            logits[0], Sampling(temperature=temperature, seed=3, step=step), values["history"][0], mask
        )
        assert code == want_code and (code or picked == want) and (code or picked in allowed)
        assert bool(code) == (not allowed)


def test_a_mask_outside_memory_is_refused(kernels):
    values = values_of(np.zeros((1, 64), np.float32), [Sampling(mask=0xFFFFFFF8)])
    assert kernels["simd"].call("sample", values)[0] == 3


# --- the reference's filters, from their definitions ------------------------------------------------------------------
W = weights_of(np.log(np.float32([0.4, 0.1, 0.3, 0.15, 0.05])))
FILTERS = [
    ("top-k 2", {"top_k": 2}, [0, 2]),
    ("top-p 0.69: two are enough", {"top_p": 0.69}, [0, 2]),
    ("top-p 0.72: a third is needed", {"top_p": 0.72}, [0, 2, 3]),
    ("top-p counts within top-k", {"top_k": 2, "top_p": 0.5}, [0]),
    ("min-p 0.3 of the best", {"min_p": 0.3}, [0, 2, 3]),
    ("none", {}, [0, 1, 2, 3, 4]),
]


@pytest.mark.parametrize("reason,setting,want", FILTERS, ids=[f[0] for f in FILTERS])
def test_filters_keep(reason, setting, want):
    assert kept(W, Sampling(**setting)).tolist() == want
    assert W.max() == ONE


def test_penalties_push_away_what_was_said():
    z = penalized(
        np.float32([2, -2, 1]), Sampling(repetition=2, frequency=0.5, presence=0.25, history=3), np.array([0, 0, 1])
    )
    assert z.tolist() == [2 / 2 - 2 * 0.5 - 0.25, -2 * 2 - 0.5 - 0.25, 1]


def test_words_come_back():
    it = Sampling(temperature=0.5, top_k=7, seed=(1 << 63) + 5, step=9, history=3, flags=1)
    assert Sampling.from_words(it.words()) == it and len(it.words()) == 16
