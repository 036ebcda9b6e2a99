"""A transformers.js-style folder through onnxruntime-web behind the same session as every language model, against native onnxruntime."""

import base64
import json
from functools import cache

import pytest

from tests.browser import onnxdecoder as decoder
from tests.browser.fakemodel import FakeSite
from tests.browser.faultserver import FaultServer, running
from tests.browser.hosting import blank
from tests.browser.test_sdk import PRELUDE

pytestmark = pytest.mark.browser
PATHS = {"fp32": "onnx/model.onnx", "q4": "onnx/model_q4.onnx", "fp16": "onnx/model_fp16.onnx"}
PROMPTS = [[5, 17, 99, 200, 3], [100] * 3, [7, 8, 9] * 15]  # the last is longer than one prefill of 32

OPEN = """async ([files, load]) => {
  window.bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  window.files = Object.fromEntries(Object.entries(files).map(([path, data]) => [path, new Blob([bytes(data)])]));
  window.loader = make();
  return caught(async () => {
    window.session = await loader.load({ files: window.files }, load);
    return { ...session.info, type: session.type, trust: session.trust, maxTokens: session.maxTokens };
  });
}"""
GREEDY = "([tokens, n]) => session.complete({ tokens }, { temperature: 0, maxTokens: n })"


@cache
def weights(kind):
    return decoder.weights(kind)


@pytest.fixture
def onnx(page, site):
    """A function that opens a folder with weights of these kinds; answers what the session says of itself, or the error."""
    blank(page, site())
    page.evaluate(PRELUDE)

    def open_(*kinds, without=(), **load):
        files = decoder.folder({PATHS[kind]: weights(kind) for kind in kinds})
        sent = {path: base64.b64encode(data).decode() for path, data in files.items() if path not in without}
        answer = page.evaluate(OPEN, [sent, load])
        return answer.get("result", answer)

    open_.page = page
    return open_


@pytest.mark.parametrize("kind", PATHS)
def test_greedy_tokens_are_those_of_native_onnxruntime(onnx, kind):
    info = onnx(kind)
    assert (info["type"], info["trust"], info["maxTokens"], info["dtype"], info["chat"]) == (
        "text-generation",
        "unsigned",
        64,
        kind,
        True,
    )
    for prompt in PROMPTS:
        wanted, lead = decoder.Native(weights(kind)).greedy(prompt, 16)
        assert lead > (4e-3 if kind == "fp16" else 1e-4), "a tie would say nothing"
        found = onnx.page.evaluate(GREEDY, [prompt, 16])
        assert found["tokens"] == wanted
        assert (found["reason"], found["usage"]["prompt"], found["usage"]["completion"]) == ("length", len(prompt), 16)


def test_a_prompt_that_begins_like_the_last_one_reads_only_what_is_new(onnx):
    onnx("fp32")
    first = onnx.page.evaluate(GREEDY, [PROMPTS[2], 8])
    longer = PROMPTS[2] + first["tokens"][:4] + [50, 60]
    again = onnx.page.evaluate(GREEDY, [longer, 8])
    assert again["usage"]["cached"] == len(PROMPTS[2]) + 4
    assert again["tokens"] == decoder.Native(weights("fp32")).greedy(longer, 8)[0]
    onnx.page.evaluate("session.clearKVCache()")
    assert onnx.page.evaluate("session.getMemoryInfo().kvCacheBytes") == 0
    assert onnx.page.evaluate(GREEDY, [longer, 8])["usage"]["cached"] == 0


def test_equal_seeds_draw_equal_texts_and_others_draw_others(onnx):
    onnx("q4")
    draw = "(seed) => session.generate('x', { seed, temperature: 1.5, maxTokens: 20, topK: 0 })"
    one, again, other = (onnx.page.evaluate(draw, seed) for seed in (1, 1, 2))
    assert one == again != other


def test_streams_chats_stops_and_says_why_it_ended(onnx):
    onnx("q4")
    found = onnx.page.evaluate("""async () => {
      const greedy = { temperature: 0, maxTokens: 12 }, messages = [{ role: "user", content: "hello <|special2|>" }];
      const pieces = [];
      const stream = session.generateStream("hello", greedy);
      for await (const piece of stream) pieces.push(piece);
      const { text } = await stream.result;
      const half = text.slice(4, 7);
      const stopped = await session.complete({ prompt: "hello" }, { ...greedy, stopSequences: [half] });
      const full = await session.complete({ prompt: "hello" }, { temperature: 0 });
      const tokens = await session.encode("<|special1|>user: ", { special: true });
      return { text, pieces, stopped: [stopped.text, stopped.reason], half, full: full.reason, chat: await session.chat(messages, greedy), tokens };
    }""")
    assert "".join(found["pieces"]) == found["text"]
    assert found["stopped"] == [found["text"].split(found["half"])[0], "stop"]
    assert found["full"] in ("context", "stop")
    assert found["tokens"][0] == decoder.TOKENS.index("<|special1|>") and len(found["tokens"]) > 1
    assert found["chat"]


def test_a_context_that_shifts_goes_on(onnx):
    onnx("fp32")
    found = onnx.page.evaluate(
        "session.complete({ tokens: [1, 2, 3] }, { temperature: 0, maxTokens: 90, contextPolicy: 'shift' })"
    )
    assert (found["usage"]["completion"], found["reason"]) in ((90, "length"), (found["usage"]["completion"], "stop"))
    refused = onnx.page.evaluate("caught(() => session.complete({ tokens: Array(65).fill(1) }))")
    assert refused["code"] == "context_full" and "65" in refused["message"]


def test_a_cancel_ends_the_answer_and_the_next_one_is_right(onnx):
    onnx("fp32")
    found = onnx.page.evaluate("""async () => {
      const pieces = [];
      for await (const piece of session.generateStream("hello", { temperature: 2, maxTokens: 60, topK: 0 })) if (pieces.push(piece) === 2) break;
      return pieces.length;
    }""")
    assert found == 2
    wanted, _ = decoder.Native(weights("fp32")).greedy(PROMPTS[0], 8)
    assert onnx.page.evaluate(GREEDY, [PROMPTS[0], 8])["tokens"] == wanted


def test_clearing_under_an_answer_leaves_it_what_it_needs_and_keeps_nothing_for_the_next(onnx):
    onnx("fp32")
    found = onnx.page.evaluate(
        """async ([tokens, n]) => {
      const greedy = { temperature: 0, maxTokens: n }, stream = session.stream({ tokens }, greedy);
      await stream.next();
      await session.clearKVCache();
      return [(await stream.result).tokens, (await session.complete({ tokens }, greedy)).usage.cached];
    }""",
        [PROMPTS[0], 16],
    )
    assert found == [decoder.Native(weights("fp32")).greedy(PROMPTS[0], 16)[0], 0]


def test_the_dtype_is_chosen_or_asked_for_by_name(onnx):
    assert onnx("fp32", "q4")["dtype"] == "q4"
    assert onnx("fp32", "q4", dtype="fp32")["dtype"] == "fp32"


REFUSED = [
    ("a dtype that is not there", {"dtype": "q8"}, (), "invalid_option", "It has q4"),
    ("a dtype that nobody knows", {"dtype": "q3"}, (), "invalid_option", "Known: fp32"),
    ("no tokenizer", {}, ("tokenizer.json",), "model_invalid", "tokenizer.json"),
    ("no weights", {}, (PATHS["q4"],), "invalid_option", "ONNX"),
]


@pytest.mark.parametrize(("why", "load", "without", "code", "says"), REFUSED, ids=[row[0] for row in REFUSED])
def test_a_folder_that_cannot_be_run_is_refused_by_name(onnx, why, load, without, code, says):
    answer = onnx("q4", without=without, **load)
    assert answer["code"] == code and says in answer["message"], answer
    assert onnx.page.evaluate("loader.status().then((s) => s.languages ?? [])") == []


def test_weights_that_are_no_model_are_refused_by_name(onnx):
    onnx("q4")
    answer = onnx.page.evaluate(
        "caught(() => loader.load({ files: { ...files, 'onnx/model_q4.onnx': new Blob(['not a model']) } }))"
    )
    assert answer["code"] == "model_invalid"


def test_a_published_decoder_is_verified_and_runs_from_the_store(page, dist):
    files = {f"file{i}": row for i, row in enumerate(decoder.folder({PATHS["q4"]: weights("q4")}).items())}
    with running(FaultServer(dist)) as server, running(FaultServer(cors=True)) as mirror:
        site = FakeSite(server, mirror)
        keys = [
            site.signer.entry(),
            *json.loads((dist / "trust.json").read_text())["keys"],
        ]  # the kernels are the builder's
        site.put("trust.json", {"schemaVersion": 1, "keys": keys})
        site.add("tiny", files=files, type="text-generation")
        blank(page, server.url + "/")
        page.evaluate(PRELUDE)
        found = page.evaluate(
            """async (prompt) => {
          window.session = await make().load("tiny");
          const { tokens } = await session.complete({ tokens: prompt }, { temperature: 0, maxTokens: 8 });
          return { tokens, trust: session.trust, cached: await loader.isCached("tiny") };
        }""",
            PROMPTS[0],
        )
    wanted, _ = decoder.Native(weights("q4")).greedy(PROMPTS[0], 8)
    assert found == {"tokens": wanted, "trust": "signed", "cached": True}
