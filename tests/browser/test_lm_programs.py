"""Programs beside the loaded one in the worker of a language model, in Chromium: on one thread and two, alone and while it answers requests."""

import numpy as np
import pytest

from edgenet.graph import Capacity, compile
from edgenet.kernels.lm.optimizer import hyper
from edgenet.models.compiled import build
from edgenet.models.training import training_programs
from edgenet.run import NumpyEngine
from tests.browser import lmmodel
from tests.browser.lmworker import GREEDY
from tests.unit.graph_models import now
from tools.oracles.lora_batch import LENGTHS, LORA, batch, parameters
from tools.oracles.small_models import prompt

SIZES = {"rows": 32, "sequences": 4}
STEPS = 3
ONE = 0x3F800000  # 1.0 in f32
GREEDY_WORDS = [ONE, 0, 0, 0, ONE, *[0] * 6, 1, *[0] * 4]  # temperature, repetition penalty, flags
RUNS = """async ([name, work, request]) => {
  const generated = request && lm.call(name, "lm.generate", request);
  const answers = [];
  for (const [kind, args] of work) answers.push(await lm.call(name, `lm.${kind}`, args));
  return { answers, generated: await generated };
}"""


@pytest.fixture(scope="session")
def programs(decoder):
    """What teaches the decoder, by name."""
    return training_programs(lmmodel.header_of(decoder), LORA, **SIZES).programs


def lesson(programs, decoder):
    """The calls of three steps, as [kind, args]; every third from the seventh on answers losses."""
    inputs = batch() | {"parameters": parameters(lmmodel.header_of(decoder))}
    work = [["add", {"programs": {n: p.to_data() for n, p in programs.items()}}]]
    work += [["write", {"program": "train", "name": n, "array": a.tolist()}] for n, a in inputs.items()]
    for step in range(1, STEPS + 1):
        words = hyper(0.01, step=step, clip=1.0).tolist()
        work += [
            ["write", {"program": "update", "name": "hyper", "array": words}],
            ["run", {"program": "train", "slots": {"n": sum(LENGTHS), "s": len(LENGTHS)}}],
            ["read", {"program": "train", "name": "losses"}],
            ["run", {"program": "update", "slots": {}}],
        ]
    return [*work, ["read", {"program": "update", "name": "parameters"}], ["drop", {"names": list(programs)}]]


def taught(worker, work, request=None):
    """(losses of every step, parameters at the end, the answer to the request)."""
    found = worker.page.evaluate(RUNS, [worker.name, work, request])
    assert all("result" in a for a in found["answers"]), found["answers"]
    read = [np.array(a["result"]) for (kind, _), a in zip(work, found["answers"], strict=True) if kind == "read"]
    return np.array(read[:-1]), read[-1], found["generated"] and found["generated"]["result"]["tokens"]


def test_what_is_taught_beside_the_model_is_what_numpy_says_and_no_request_notices(lm_worker, programs, decoder):
    """Alone, and beside a request that has its turns between the runs: the same bits, on one thread and on two, isolated or not."""
    work, request = lesson(programs, decoder), {"tokens": prompt(21), "options": {**GREEDY, "maxTokens": 60}}
    expected, found = in_numpy(decoder, programs), []
    for isolated, threads in [(True, 1), (True, 2), (False, None)]:
        worker = lm_worker(isolated=isolated, threads=threads)
        alone = worker.ask("generate", **request)["tokens"]
        losses, end, _ = taught(worker, work)
        memory = worker.ask("memory")
        worker.ask("clear")
        together = taught(worker, work, request)
        assert (together[0] == losses).all() and (together[1] == end).all() and together[2] == alone
        assert worker.ask("memory")["wasmBytes"] == memory["wasmBytes"], "what was dropped is used again"
        np.testing.assert_allclose(losses, expected, atol=0.02 * np.abs(expected).max())
        found.append((losses.tolist(), end.tolist(), alone))
    assert found[0] == found[1] == found[2]
    assert losses[-1].sum() < losses[0].sum()


def in_numpy(decoder, programs):
    """The losses of every step by the kernels' references."""
    header = lmmodel.header_of(decoder)
    capacity = Capacity(rows=1, wanted=1, sequences=1, context=16, sample=False)
    engine = NumpyEngine()
    tensors = {n: (t.type, decoder[t.offset : t.offset + t.bytes]) for n, t in header.tensors.items()}
    now(engine.load(compile(build(header, None, 128), capacity), tensors.__getitem__))
    now(engine.add(programs))
    for name, array in (batch() | {"parameters": parameters(header)}).items():
        now(engine.write(name, array, "train"))
    losses = []
    for step in range(1, STEPS + 1):
        now(engine.write("hyper", hyper(0.01, step=step, clip=1.0), "update"))
        now(engine.run("train", n=sum(LENGTHS), s=len(LENGTHS)))
        losses.append(now(engine.read("losses", "train")))
        now(engine.run("update"))
    return np.array(losses)


def test_a_second_program_of_the_model_gives_what_the_first_gives(lm_worker, decoder):
    """The plain Program again, over the same cache: its logits after a prompt are the first one's, on one thread and on two."""
    again = lmmodel.files(decoder)["program"][1]
    tokens = prompt(9)
    found = []
    for threads in (1, 2):
        worker = lm_worker(threads=threads)
        alone = np.array(worker.ask("logits", tokens=tokens)).reshape(len(tokens), -1)[-1]
        worker.ask("add", programs={"again": again.decode()})
        rows = {"tokens": tokens, "positions": list(range(9)), "sequences": [0] * 9, "wanted": [8], "pages": [0]}
        for name, values in (rows | {"sampling": GREEDY_WORDS}).items():
            worker.ask("write", program="again", name=name, array=values)
        worker.ask("run", program="again", slots={"n": 9, "m": 1, "s": 1})
        second = np.array(worker.ask("read", program="again", name="logits"))
        first = np.array(worker.ask("logits", tokens=tokens)).reshape(len(tokens), -1)[-1]
        assert (second == alone).all() and (first == alone).all()
        found.append(alone.tolist())
    assert found[0] == found[1]


def test_what_cannot_run_beside_the_model_is_refused_by_name(lm_worker, decoder):
    worker = lm_worker(threads=1)
    other = lmmodel.files(lmmodel.gguf("qwen2"))["program"][1].decode()
    assert worker.fails("add", programs={"other": other})["code"] == "program_mismatch"
    assert worker.fails("run", program="other", slots={})["code"] == "invalid_option"
    assert worker.ask("generate", tokens=prompt(5), options=GREEDY)["usage"]["completion"] == 24
