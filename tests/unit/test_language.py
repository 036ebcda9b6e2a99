"""LanguageSession on the engine module in wasmtime: cached prefixes, seeds, stops, options, full contexts, failures. CPython."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from edgenet.errors import ContextFull, Disposed, EmptyText, InvalidOption, NoChatTemplate, OutputNotFinite
from edgenet.host.tokenizer import text_tokenizer
from edgenet.host.wasmtime_engine import WasmtimeRuntime
from edgenet.host.wasmtime_lm import WasmtimeLm
from edgenet.language import LanguageSession
from edgenet.models.compiled import compile_gguf, default_capacity
from tests.unit.small_model_runs import opened, recorded
from tools.oracles.small_models import PROMPTS

NAME, SEED = "qwen2", 7


@pytest.fixture(scope="module")
def runtime():
    with WasmtimeRuntime(tick_ms=5, budget=4000) as it:
        yield it


@pytest.fixture
def session(runtime, lm_modules):
    return session_of(runtime, lm_modules, opened(NAME, "f32").weights)


def session_of(runtime, lm_modules, weights, **capacity):
    """A session on a small model of random weights, in f32."""
    model = opened(NAME, "f32")
    made = compile_gguf(model.header, replace(default_capacity(model.header), **capacity))
    engine = WasmtimeLm(runtime, lm_modules["relaxed"])
    asyncio.run(engine.load(made.program, weights))
    return LanguageSession(engine, made.program, text_tokenizer(made.tokenizer), made.generation, lambda: SEED)


def run(session, prompt, **options):
    asyncio.run(session.generate(prompt, **{"max_tokens": 12, "temperature": 0, **options}))
    return session.last


def test_greedy_tokens_are_those_of_llama_cpp(session):
    wanted = recorded(NAME)["llama.cpp"]["F32"]["greedy"]
    assert run(session, PROMPTS[0], max_tokens=len(wanted)).tokens == wanted


def test_a_prompt_that_begins_like_the_last_is_cheaper_and_says_the_same(session):
    first = run(session, [5, 6, 7, 8, 9, 10])
    again = run(session, [5, 6, 7, 8, 9, 10])
    assert (first.cached_tokens, again.cached_tokens, again.tokens) == (0, 5, first.tokens)
    session.clear_kv_cache()
    assert (run(session, [5, 6, 7, 8, 9, 10]).tokens, session.last.cached_tokens) == (first.tokens, 0)


def test_what_was_cached_of_another_prompt_is_not_believed(session):
    alone = run(session, [5, 6, 40, 41, 42]).tokens
    run(session, [5, 6, 7, 8, 9, 10])
    assert (run(session, [5, 6, 40, 41, 42]).tokens, session.last.cached_tokens) == (alone, 2)


def test_a_seed_draws_the_same_text_again_and_another_one_another(session):
    drawn = {seed: run(session, [5, 6], temperature=5, top_k=0, top_p=1, seed=seed).tokens for seed in (1, 2)}
    assert run(session, [5, 6], temperature=5, top_k=0, top_p=1, seed=1).tokens == drawn[1] != drawn[2]
    assert run(session, [5, 6], temperature=5).seed == SEED


def test_the_pieces_are_the_text_and_a_stop_ends_it(session):
    whole = run(session, [5, 6, 7], max_tokens=20)
    stop = whole.text[4:6]
    ended = run(session, [5, 6, 7], max_tokens=20, stop_sequences=[stop])
    assert (ended.reason, ended.text) == ("stop", whole.text[: whole.text.index(stop)])


def test_an_answer_ends_where_the_context_does(session):
    full = run(session, list(range(session.capacity.context - 3)), max_tokens=None)
    assert full.reason == "context" and len(full.tokens) == 4


def test_a_cache_smaller_than_the_context_is_the_context(runtime, lm_modules):
    session = session_of(runtime, lm_modules, opened(NAME, "f32").weights, pages=2)
    full = run(session, [5] * 30, max_tokens=None)
    assert full.reason == "context" and len(full.tokens) == 3
    with pytest.raises(ContextFull, match="holds 32"):
        run(session, [5] * 33)


FAILURES = {
    "no token": ([], {}, EmptyText),
    "an empty text": ("", {}, EmptyText),
    "a prompt beyond the context": ([1] * 500, {}, ContextFull),
    "messages without a template": ([{"role": "user", "content": "hello"}], {}, NoChatTemplate),
    "a number that is no token": ([1, 1 << 20], {}, InvalidOption),
    "a number below every token": ([-1], {}, InvalidOption),
    "an option nobody knows": ([1], {"heat": 1}, InvalidOption),
    "a share above one": ([1], {"top_p": 1.5}, InvalidOption),
    "a temperature that is no number": ([1], {"temperature": "hot"}, InvalidOption),
    "no tokens at most": ([1], {"max_tokens": 0}, InvalidOption),
    "a stop that is empty": ([1], {"stop_sequences": [""]}, InvalidOption),
    "a negative seed": ([1], {"seed": -1}, InvalidOption),
    "a seed that is no integer": ([1], {"seed": 1.0}, InvalidOption),
    "a top-k that is no integer": ([1], {"top_k": 40.0}, InvalidOption),
}


@pytest.mark.parametrize("title", FAILURES)
def test_what_cannot_be_done_is_named_and_the_session_goes_on(session, title):
    prompt, options, error = FAILURES[title]
    with pytest.raises(error):
        run(session, prompt, **options)
    assert len(run(session, [5, 6]).tokens) == 12


def test_numbers_that_overflow_are_told_from_wrong_input(runtime, lm_modules):
    def weights(name):
        kind, data = opened(NAME, "f32").weights(name)
        large = np.frombuffer(data, "<f4") * np.float32(1e38 if name == "output_norm.weight" else 1)
        return kind, large.tobytes()

    with pytest.raises(OutputNotFinite):
        run(session_of(runtime, lm_modules, weights), [5, 6])


def test_an_answer_can_be_cancelled_while_it_is_made(session):
    async def cancelled():
        task = asyncio.ensure_future(session.generate([5, 6], max_tokens=40, temperature=0))
        await asyncio.sleep(0)  # it has begun
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return len(session.last.tokens)

    assert asyncio.run(cancelled()) < 40
    assert len(run(session, [5, 6]).tokens) == 12


def test_a_disposed_session_says_so(session):
    asyncio.run(session.dispose())
    asyncio.run(session.dispose())
    with pytest.raises(Disposed):
        run(session, [1])
