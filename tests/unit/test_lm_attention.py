"""What attention must never do: see the future, mix sequences, or depend on the batch, the pages or the threads around a row."""

import numpy as np
import pytest

from edgenet.host.wasmtime_engine import WasmtimeRuntime
from edgenet.host.wasmtime_lm import LmKernels
from edgenet.kernels.lm.cache import pack_pages, unpack_pages
from edgenet.kernels.lm.cases import normal

SIZES = {"heads": 6, "kv_heads": 2, "head_dim": 32, "page": 8, "max_pages": 6, "seqs": 2, "cache_pages": 13}
KV = {"f32": 0, "q8": 1, "q4": 2}


@pytest.fixture(scope="module")
def runtime():
    with WasmtimeRuntime(tick_ms=5, budget=4000) as it:
        yield it


@pytest.fixture(scope="module", params=["simd", "relaxed"])
def kernels(request, lm_modules, runtime):
    return LmKernels(runtime, lm_modules[request.param])


def call(positions, kv, window=0, seed=0):
    """A call whose row i is token positions[i] of sequence i % 2; the query depends on the token alone."""
    rng = np.random.default_rng(seed)
    caches = [normal(rng, 13, 2, 8, 32) for _ in range(2)]
    queries = normal(rng, 48, 6, 32)
    n = len(positions)
    return SIZES | {
        "q": queries[positions], "positions": np.array(positions, np.int32), "n": n, "window": window,
        "sequences": np.sort(np.arange(n) % 2).astype(np.int32), "pages": rng.permutation(13)[:12].reshape(2, 6).astype(np.int32),
        "kcache": pack_pages(caches[0], KV[kv]), "vcache": pack_pages(caches[1], KV[kv]), "kv_type": KV[kv],
        "scale": np.float32(0.2), "softcap": np.float32(0),
    }  # fmt: skip


def answer(kernels, values):
    code, out = kernels.call("attention", values)
    assert code == 0
    return out["y"]


def changed(values, sequence, from_position, value, to_position=48):
    """The caches with the keys and values of a sequence's tokens replaced by `value`."""
    more = {}
    for name in ("kcache", "vcache"):
        pages = unpack_pages(values[name].tobytes(), values).copy()
        for position in range(from_position, to_position):
            pages[values["pages"][sequence][position // 8], :, position % 8] = value
        more[name] = pack_pages(pages, values["kv_type"])
    return values | more


ROWS = [0, 7, 8, 19, 20, 21, 5, 6, 30, 31, 32, 33]  # six of each sequence


@pytest.mark.parametrize("kv", KV)
def test_the_future_changes_nothing(kernels, kv):
    values = call(ROWS, kv)
    want = answer(kernels, values)
    got = answer(kernels, changed(changed(values, 0, 22, 9.0), 1, 34, -7.0))
    assert (got == want).all()


def test_a_row_does_not_see_what_comes_after_it_in_its_own_batch(kernels):
    values = call(ROWS, "f32")
    got, want = answer(kernels, changed(values, 0, 20, np.nan)), answer(kernels, values)
    assert (got[:4] == want[:4]).all() and np.isnan(got[4:6]).all() and (got[6:] == want[6:]).all()


def test_tokens_outside_the_window_change_nothing(kernels):
    values = call([40, 41, 42] * 2, "f32", window=10)
    assert (answer(kernels, changed(values, 0, 0, np.nan, 31)) == answer(kernels, values)).all()


def test_another_sequence_changes_nothing(kernels):
    values = call(ROWS, "q8")
    assert (answer(kernels, changed(values, 1, 0, 3.0))[:6] == answer(kernels, values)[:6]).all()


@pytest.mark.parametrize("kv", KV)
@pytest.mark.parametrize("window", [0, 11])
def test_a_row_gives_the_same_bits_alone_and_in_a_batch(kernels, kv, window):
    values = call(ROWS, kv, window)
    together = answer(kernels, values)
    for i in range(len(ROWS)):
        one = slice(i, i + 1)
        alone = values | {name: values[name][one] for name in ("q", "positions", "sequences")} | {"n": 1}
        assert (answer(kernels, alone)[0] == together[i]).all()


def test_it_does_not_matter_which_pages_hold_a_sequence(kernels):
    values = call(ROWS, "f32")
    moved = np.roll(np.arange(13), 5)
    caches = {}
    for name in ("kcache", "vcache"):
        pages = unpack_pages(values[name].tobytes(), values)
        to = np.empty_like(pages)
        to[moved] = pages
        caches[name] = pack_pages(to, 0)
    other = values | caches | {"pages": moved[values["pages"]].astype(np.int32)}
    assert (answer(kernels, other) == answer(kernels, values)).all()


@pytest.mark.parametrize("length", [1, 15, 16, 17, 64])
def test_a_packed_row_gives_the_same_bits_whatever_lies_around_its_sequence(kernels, length):
    rng = np.random.default_rng(length)
    q, k, v = (normal(rng, length + 30, 3, 16) for _ in range(3))
    sequences = np.repeat([0, 1, 2], [11, length, 19]).astype(np.int32)
    values = {
        "q": q,
        "k": k,
        "v": v,
        "sequences": sequences,
        "n": length + 30,
        "heads": 3,
        "kv_heads": 3,
        "head_dim": 16,
    }
    own = slice(11, 11 + length)
    alone = values | {name: values[name][own] for name in ("q", "k", "v", "sequences")} | {"n": length}
    (_, many), (_, one) = (kernels.call("attention_packed", x | {"scale": np.float32(0.25)}) for x in (values, alone))
    assert (many["y"][own] == one["y"]).all()
