"""`session.createTrainer` on the built site, in Chromium: it learns what the command line's Trainer learns, and survives what happens to tabs."""

import json
from functools import cache

import numpy as np
import pytest

from edgenet.host.browser_runs import configured
from edgenet.host.gguf_files import GgufFiles
from edgenet.host.tokenizer import text_tokenizer
from edgenet.host.wasmtime_engine import WasmtimeRuntime
from edgenet.host.wasmtime_lm import WasmtimeLm
from edgenet.lora.data import prepare
from edgenet.lora.examples import tokenize
from edgenet.lora.trainer import Trainer
from edgenet.models.compiled import compile_gguf, default_capacity
from tests.browser.hosting import hosted
from tests.browser.test_embed import ADD, PAGE
from tests.browser.test_sdk_language import MODEL, prepared
from tests.unit.lora_runs import run
from tools.paths import DIST, ROOT

pytestmark = pytest.mark.browser
TEXT = (
    "def add(a, b):\n    return a + b\n\n\nclass Point:\n    def __init__(self, x, y):\n        self.x = x\n        self.y = y\n\n"
    * 6
)
LORA = {"r": 2, "loraAlpha": 4, "targetModules": ["q", "v"]}
TRAINING = {
    "maxSteps": 5,
    "maxLength": 32,
    "learningRate": 0.01,
    "warmupSteps": 0,
    "checkpointEvery": 2,
    "evaluateEvery": 2,
    "seed": 7,
}
# Measured: both are equal to the last bit where wasmtime and Chromium fuse multiply-adds alike. Where one does not, f32 sums differ by roundings,
TOLERANCE = {"f32": 1e-4, "int8": 5e-3}

KIT = """([text, lora, training]) => Object.assign(window, {
  text,
  long: { maxSteps: 40, maxEpochs: 0, evaluateEvery: 20 }, // what shall come in between does, however late the page hears of the first steps
  made: (more = {}) => session.createTrainer({ name: "mine", lora, training: { ...training, ...more } }),
  losses: ({ metrics }) => metrics.losses.map(({ loss }) => loss),
  taught: async (more) => {
    const trainer = made(more);
    const result = await trainer.train(text);
    return { losses: losses(result), id: (await trainer.adapter()).id };
  },
})"""


def opened(page, url, isolated=True, threads=None):
    """The site's model, open as `session`."""
    prepared(page, url, isolated=isolated)
    return ready(page, threads)


def ready(page, threads=None):
    page.evaluate(KIT, [TEXT, LORA, TRAINING])
    options = f"{{ threads: {threads} }}" if threads else "{}"
    page.evaluate(f"async () => {{ window.session = await make().load('{MODEL}', {options}); }}")
    return page


@pytest.fixture
def model(page, site):
    return opened(page, site(), threads=1)


@cache
def natively(dots, **more):
    """Losses of the same training in CPython, in wasmtime."""

    async def taught():
        source = GgufFiles(str(ROOT / "models" / f"{MODEL}.gguf"))
        made = compile_gguf(source.header, default_capacity(source.header, 16), {})
        lora, training = configured(None, LORA, TRAINING | {"dots": dots} | more)
        data = prepare(tokenize([TEXT], text_tokenizer(made.tokenizer), made.generation), training)
        with WasmtimeRuntime() as runtime:
            engine = WasmtimeLm(runtime, (DIST / "kernels" / "engine.relaxed.wasm").read_bytes())
            tensors = source.header.tensors
            read = {name: (t.type, source.read(t.part, t.offset, t.bytes)) for name, t in tensors.items()}
            await engine.load(made.program, read.__getitem__)
            events = [e async for e in Trainer(engine, source.header, data, lora, training)]
            await engine.dispose()
        return [e["loss"] for e in events if e["kind"] == "step"]

    return run(taught())


@pytest.mark.parametrize("dots", list(TOLERANCE))
def test_a_tab_learns_what_the_command_line_learns_on_one_thread_or_two(page, site, dots):
    found = []
    for isolated, threads in [(False, 1), (True, 2)]:
        opened(page, site(isolated=isolated), isolated=isolated, threads=threads)
        found.append(page.evaluate("(dots) => taught({ dots })", dots))
    assert found[0] == found[1], "the same bits on any number of threads"
    np.testing.assert_allclose(found[0]["losses"], natively(dots), rtol=TOLERANCE[dots])
    assert len(found[0]["losses"]) == 5


@pytest.mark.long
def test_a_tab_learns_for_two_hundred_steps_what_the_command_line_learns(page, site):
    """The other half of the way to PyTorch's own losses: tests/unit/test_lora_oracle.py has wasmtime's beside those."""
    more = {
        "maxSteps": 200,
        "maxEpochs": 0,
        "learningRate": 3e-3,
        "validation": 0,
        "evaluateEvery": 0,
        "checkpointEvery": 0,
    }
    opened(page, site(), threads=1)
    found, wanted = page.evaluate("(more) => taught(more)", {"dots": "f32", **more})["losses"], natively("f32", **more)
    print(f"losses within {np.abs(np.array(found) / wanted - 1).max():.2e}, from {found[0]:.3f} to {found[-1]:.3f}")
    np.testing.assert_allclose(found, wanted, rtol=0.01)
    assert len(found) == 200 and found[-1] < 0.1 * found[0]


def test_events_tell_the_course_and_a_pause_changes_nothing(model):
    found = model.evaluate("""async () => {
      const whole = await taught(long);
      const trainer = made({ ...long, checkpointEvery: 20 }), kinds = [], states = [];
      let resumed;
      const onEvent = (event) => {
        kinds.push(event.kind);
        if (event.kind === "step" && event.step === 2) trainer.pause();
        if (event.kind === "paused") { states.push(trainer.state); resumed = trainer.resume(); }
      };
      const result = await trainer.train(text, { onEvent });
      await resumed;
      return { whole, kinds, states: [...states, trainer.state], id: (await trainer.adapter()).id, losses: losses(result), reason: result.reason };
    }""")
    kinds = [kind for kind in found["kinds"] if kind not in ("paused", "resumed")]
    half = ["step"] * 20 + ["validation", "checkpoint"]
    assert kinds == ["started", "validation", *half, *half, "done"]
    assert {"paused", "resumed"} <= set(found["kinds"]) and found["states"] == ["paused", "done"]
    assert (found["id"], found["losses"]) == (found["whole"]["id"], found["whole"]["losses"])


def test_a_cancelled_training_goes_on_where_it_stopped_in_this_page_or_the_next(model, site):
    stopped = """async (again) => {
      const trainer = window.trainer ??= made(long);
      const onEvent = ({ kind, step }) => { if (kind === "step" && step === 3 && !again) trainer.cancel(); };
      const result = await trainer.train(again ? undefined : text, { onEvent });
      return { reason: result.reason, step: result.step, losses: losses(result), id: (await trainer.adapter()).id, runs: (await session.trainers()).map(({ state, step }) => [state, step]) };
    }"""
    whole = model.evaluate("() => taught(long)")
    model.evaluate(
        "async () => { for (const { id } of await session.trainers()) await (await session.resumeTrainer(id)).discard(); }"
    )
    first = model.evaluate(stopped, False)
    assert first["reason"] == "cancelled" and 3 <= first["step"] < 40 and first["runs"] == [["stopped", first["step"]]]
    model.reload()
    prepared(model, model.url.removesuffix("blank.html"))
    ready(model, 1)
    model.evaluate(
        "async () => { const [{ id }] = await session.trainers(); window.trainer = await session.resumeTrainer(id); }"
    )
    second = model.evaluate(stopped, True)
    assert (second["reason"], second["losses"], second["id"]) == ("steps", whole["losses"], whole["id"])


DEATHS = {
    "the engine's worker ends": "languageWorkers()[0][1].terminate()",
    "Python ends": "workers.find(([url]) => url.includes('python'))[1].terminate()",
}


@pytest.mark.parametrize("why", DEATHS)
def test_a_training_survives_that(model, why):
    """The engine is started again and training goes on from the checkpoint; of Python's death the call tells, and it goes on when asked."""
    found = model.evaluate(
        """async (end) => {
      const whole = await taught(long);
      const trainer = made(long);
      const said = [];
      const onEvent = (event) => {
        if (event.kind === "notice") said.push(event.code);
        if (event.kind === "checkpoint" && event.step === 2 && !said.ended) { said.ended = true; eval(end); }
      };
      const error = await caught(() => trainer.train(text, { onEvent }));
      const result = error.result ?? await trainer.train(undefined, { onEvent });
      return { whole, said, code: error.code ?? null, id: (await trainer.adapter()).id, losses: losses(result) };
    }""",
        DEATHS[why],
    )
    expected = ([], "worker_died") if why == "Python ends" else (["engine_restarted"], None)
    assert (found["said"], found["code"]) == expected
    assert (found["id"], found["losses"]) == (found["whole"]["id"], found["whole"]["losses"])


def test_what_was_learned_is_kept_used_named_merged_exported_and_read_again(model):
    found = model.evaluate("""async () => {
      const pairs = [{ input: "def mul(a, b):", output: "\\n    return a * b\\n" }, new File([text], "mine.py")];
      const trainers = [made({ seed: 1 }), made({ seed: 2 })], saved = [], losses = [];
      for (const [i, trainer] of trainers.entries()) {
        await trainer.train(pairs);
        if (!i) losses.push((await trainer.evaluate(text)).loss);
        saved.push(await session.adapters.keep(await trainer.adapter(), { name: `lesson ${i}` }));
      }
      for (const adapter of [null, saved[0].id]) losses.push((await trainers[0].evaluate(text, { adapter })).loss);
      const drawn = (adapters) => session.complete({ prompt: "class Point" }, { temperature: 0, maxTokens: 8, adapters }).then(({ tokens }) => tokens);
      const { id } = await session.adapters.load({ saved: saved[0].id });
      const used = [await drawn([]), await drawn(id)];
      const merged = await session.adapters.merge([{ id: saved[0].id, weight: 2 }, saved[1].id], { strategy: "weighted", name: "both" });
      const renamed = await session.adapters.rename(saved[1].id, "second");
      const files = [];
      for (const format of ["peft", "json", "gguf"]) files.push(await session.adapters.export(saved[0].id, format));
      const names = (await session.adapters.saved()).map(({ name }) => name);
      await session.adapters.remove(saved[0].id);
      const again = [];
      for (const file of files) { const one = await session.adapters.import(file, { name: file.name }); again.push(one.id); await session.adapters.remove(one.id); }
      return { saved, losses, used, merged, renamed: renamed.name, names, again, files: files.map(({ name, size }) => [name, size > 50000]), left: (await session.adapters.saved()).map(({ name }) => name), runs: await session.trainers() };
    }""")
    mine, alone, kept = found["losses"]
    assert mine == kept < alone
    assert sorted(found["names"]) == ["both", "lesson 0", "second"]
    assert (
        found["merged"]["metrics"]["merge"]["weights"] == pytest.approx([2 / 3, 1 / 3]) and found["renamed"] == "second"
    )
    assert found["again"][0] == found["again"][1] == found["saved"][0]["id"], "the same factors and scales, the same id"
    assert [name for name, large in found["files"] if large] == ["lesson 0.zip", "lesson 0.json", "lesson 0.gguf"]
    assert sorted(found["left"]) == ["both", "second"] and found["runs"] == []
    assert found["saved"][0]["metrics"]["samples"] == 2


REFUSED = {
    "no data": ("training_data_too_little", "made().train([])"),
    "white space": ("training_data_too_little", "made().train('  \\n ')"),
    "a binary file": ("not_text", "made().train(new File([new Uint8Array([0, 1, 2])], 'x.bin'))"),
    "a number": ("not_text", "made().train([7])"),
    "rank 0": ("rank_invalid", "session.createTrainer({ lora: { r: 0 } }).train(text)"),
    "a rank beyond a tab's": ("rank_invalid", "session.createTrainer({ lora: { r: 17 } }).train(text)"),
    "an unknown module": (
        "target_module_unknown",
        "session.createTrainer({ lora: { targetModules: ['x'] } }).train(text)",
    ),
    "an unknown option": ("invalid_option", "made({ speed: 9 }).train(text)"),
    "an unknown preset": ("invalid_option", "session.createTrainer({ preset: 'best' }).train(text)"),
    "a pair that is too long": ("example_too_long", "made().train([{ input: text, output: text }])"),
    "a masked objective": ("no_mask_token", "made({ objective: 'masked' }).train(text)"),
    "a training nobody kept": ("not_found", "session.resumeTrainer('none')"),
    "an adapter nobody kept": ("adapter_not_found", "session.adapters.export('none')"),
    "an adapter before any step": ("not_found", "made().adapter()"),
}


def test_what_cannot_be_trained_is_refused_by_name_and_nothing_is_kept(model):
    found = {
        why: model.evaluate(f"async () => (await caught(async () => {work})).code")
        for why, (_, work) in REFUSED.items()
    }
    assert found == {why: code for why, (code, _) in REFUSED.items()}
    assert model.evaluate("() => session.trainers()") == []


def test_a_cancel_before_python_is_there_and_a_disposal_while_paused_end_a_training(model):
    found = model.evaluate(
        """async (id) => {
      const more = { maxSteps: 400, maxEpochs: 0 };
      const early = made(more), going = early.train(text);
      await early.cancel();
      const { reason, step } = await going;
      const other = (window.session = await make().load(id, { threads: 1 }));
      const trainer = made(more);
      const onEvent = ({ kind, step }) => { if (kind === "step" && step === 1) trainer.pause(); if (kind === "paused") other.dispose(); };
      return [reason, step, (await caught(() => trainer.train(text, { onEvent }))).code];
    }""",
        MODEL,
    )
    reason, step, code = found
    assert (reason, code) == ("cancelled", "disposed") and step < 400


def test_evaluations_take_turns_and_one_that_is_given_up_leaves_the_engine_free(model):
    found = model.evaluate("""async () => {
      const trainer = made(), stop = new AbortController();
      const evaluated = (data, options) => trainer.evaluate(data, { adapter: null, ...options });
      const both = await Promise.all([evaluated(text), evaluated(text)]);
      const given = await caught(() => evaluated(text.repeat(300), { signal: stop.signal, onProgress: ({ loaded, phase }) => { if (phase === "evaluate" && loaded > 0) stop.abort(); } }));
      return { losses: [...both, await evaluated(text)].map(({ loss }) => loss), name: given.name, reason: (await trainer.train(text)).reason };
    }""")
    assert len(set(found["losses"])) == 1 and (found["name"], found["reason"]) == ("AbortError", "steps")


def test_two_tabs_do_not_train_the_same_training(model, context):
    model.evaluate("""async () => {
      const trainer = made({ maxSteps: 400, maxEpochs: 0 });
      const paused = new Promise((resolve) => { window.going = trainer.train(text, { onEvent: ({ kind }) => { if (kind === "checkpoint") trainer.pause(); if (kind === "paused") resolve(); } }); });
      window.trainer = trainer;
      await paused;
    }""")
    other = context.new_page()
    opened(other, model.url.removesuffix("blank.html"), threads=1)
    code = other.evaluate("""async () => {
      const [{ id }] = await session.trainers();
      const trainer = await session.resumeTrainer(id);
      return (await caught(() => trainer.train())).code;
    }""")
    reason = model.evaluate("async () => { await trainer.cancel(); return (await going).reason; }")
    assert (code, reason) == ("training_under_way", "cancelled")


def test_a_session_that_trains_refuses_another_training_and_takes_it_afterwards(model):
    found = model.evaluate("""async () => {
      const first = made(long), second = made({ seed: 8 });
      let refused;
      const onEvent = ({ kind, step }) => {
        if (kind === "step" && step === 1) first.pause();
        if (kind === "paused") refused = caught(() => second.train(text)).finally(() => first.resume());
      };
      const { reason } = await first.train(text, { onEvent });
      const { code, message } = await refused;
      return { reason, code, message, state: second.state, kept: (await session.trainers()).length, then: (await second.train(text)).reason };
    }""")
    assert (found["reason"], found["code"]) == ("steps", "training_under_way") and "Wait" in found["message"]
    assert (found["state"], found["kept"], found["then"]) == ("new", 1, "steps")


def test_a_page_of_another_origin_trains_and_keeps_apart_from_the_sites_own(page, dist, tmp_path):
    (tmp_path / "index.html").write_text(PAGE)
    with hosted(dist, host="127.0.0.1") as engine, hosted(tmp_path, isolated=False) as shop:
        page.goto(shop)
        page.evaluate(ADD, engine + "edgenet.global.js")
        page.evaluate(KIT, [TEXT, LORA, TRAINING])
        found = page.evaluate(f"""async () => {{
          window.session = await new edgenet.ModelLoader().load('{MODEL}');
          const trainer = made({{ maxSteps: 2 }});
          await trainer.train(text);
          const saved = await session.adapters.keep(await trainer.adapter());
          await session.adapters.load({{ saved: saved.id }});
          const drawn = await session.complete({{ prompt: "class" }}, {{ maxTokens: 2, adapters: saved.id }});
          return {{ names: (await session.adapters.saved()).map(({{ name }}) => name), tokens: drawn.tokens.length }};
        }}""")
        page.goto(engine + "build.json")
        own = page.evaluate("async () => (await indexedDB.databases()).map(({ name }) => name)")
    assert found["names"] == ["mine"] and found["tokens"] == 2
    assert "edgenet-adapters-v1" not in own, json.dumps(own)


def test_an_adapter_is_pinned_at_once_whoever_changes_the_library(model):
    found = model.evaluate("""async () => {
      const trainer = made();
      await trainer.train(text);
      const { id } = await session.adapters.keep(await trainer.adapter());
      let release;
      await new Promise((held) => navigator.locks.request("edgenet-adapters-v1", () => { held(); return new Promise((done) => { release = done; }); }));
      const pinned = [(await session.adapters.pin(id)).pinned, (await session.adapters.pin(id, false)).pinned];
      release();
      await session.adapters.pin(id);
      await session.adapters.rename(id, "another name");
      return [...pinned, (await session.adapters.saved())[0].pinned];
    }""")
    assert found == [True, False, True]


def test_a_large_text_shows_how_far_it_is_and_can_be_given_up_before_the_first_step(model):
    found = model.evaluate("""async () => {
      const trainer = made(), shares = [];
      const onProgress = ({ phase, progress }) => { if (phase === "prepare" && shares.push(progress) === 3) trainer.cancel(); };
      const given = await trainer.train("value = value + 1\\n".repeat(60_000), { onProgress });
      const state = trainer.state;
      return { shares, given, state, left: (await session.trainers()).length, again: (await trainer.train(text)).reason };
    }""")
    assert found["shares"][:2] == sorted(found["shares"][:2]) and 0 < found["shares"][1] < found["shares"][2] < 100
    assert len(found["shares"]) < 10, "of seventeen"
    assert (found["given"]["reason"], found["given"]["step"], found["state"], found["left"]) == (
        "cancelled",
        0,
        "new",
        0,
    )
    assert found["again"] == "steps"
