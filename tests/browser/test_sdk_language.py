"""The SDK's language models on the built site, in Chromium: dropped files, published models, workers and pools, frames, other libraries' snippets."""

import base64
import contextlib
import re
from functools import cache
from pathlib import Path

import psutil
import pytest

from tests.browser import lmmodel
from tests.browser.hosting import blank, hosted
from tests.browser.test_embed import ADD, PAGE
from tests.browser.test_sdk import PRELUDE
from tests.browser.waiting import eventually
from tools.gguf_file import file_pieces
from tools.oracles.small_models import MODELS, vocabulary

pytestmark = pytest.mark.browser
MODEL = "python-completion-7m-q8"
TEMPLATE = "{% for m in messages %}<|special1|>{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}<|special1|>assistant: {% endif %}"
PROMPTS = [[5, 17, 99, 200, 3], [100] * 3, [7, 8, 9] * 15]

HELP = """([data, name]) => {
  window.gguf = new File([Uint8Array.from(atob(data), (c) => c.charCodeAt(0))], name, { lastModified: 1 });
  window.greedy = (session, tokens, n) => session.complete({ tokens }, { temperature: 0, maxTokens: n });
  window.languageWorkers = () => workers.filter(([url]) => /workers\\/(lm|onnx)\\.js/.test(url));
}"""


@cache
def small(name="qwen2"):
    """(bytes of a small model's GGUF file, its reference in NumPy)."""
    data = lmmodel.gguf(name)
    return data, lmmodel.Reference(data)


@cache
def chatting():
    """The small model with a chat template in its file."""
    model = MODELS["qwen2"]
    return b"".join(
        file_pieces(model.metadata | vocabulary(model) | {"tokenizer.chat_template": TEMPLATE}, model.tensors(), "q8_0")
    )


def prepared(page, url, data=b"GGUF", name="mine.gguf", isolated=True):
    """The page with the SDK imported and a file to drop."""
    blank(page, url, isolated=isolated)
    page.evaluate(PRELUDE)
    page.evaluate(HELP, [base64.b64encode(data).decode(), name])
    return page


def requests_of(page, part):
    asked = []
    page.context.on("request", lambda request: asked.append(request.url) if part in request.url else None)
    return asked


def expected(reference, prompt, count):
    tokens, lead = reference.greedy(prompt, count)
    assert lead > 1e-3, "a tie would say nothing"
    return tokens


# --- files of the user's own
@pytest.mark.parametrize("isolated", [True, False], ids=["isolated", "not isolated"])
def test_a_dropped_file_is_compiled_in_the_page_and_says_what_numpy_says(page, site, isolated):
    data, reference = small()
    prepared(page, site(isolated=isolated), data, isolated=isolated)
    found = page.evaluate(
        """async (prompts) => {
      const phases = [];
      const session = (window.session = await make().load({ file: gguf }, { onProgress: ({ phase }) => phases.push(phase) }));
      const all = await Promise.all(prompts.map((prompt) => greedy(session, prompt, 12)));
      return { phases: [...new Set(phases)], trust: session.trust, type: session.type, info: session.info, tokens: all.map(({ tokens }) => tokens), memory: session.getMemoryInfo() };
    }""",
        PROMPTS,
    )
    assert found["tokens"] == [expected(reference, prompt, 12) for prompt in PROMPTS]
    assert (found["trust"], found["type"], found["info"]["architecture"], found["info"]["isolated"]) == (
        "unsigned",
        "text-generation",
        "qwen2",
        isolated,
    )
    assert {"compile", "python", "read", "warmup"} <= set(found["phases"]), found["phases"]
    assert found["memory"]["modelBytes"] > 0 < found["memory"]["kvCacheBytes"]


def test_the_second_time_a_file_needs_no_python(page, site):
    data, reference = small()
    url = site()
    load = "async () => { window.session = await make().load({ file: gguf }); return session.id; }"
    first = prepared(page, url, data).evaluate(load)
    asked = requests_of(page, "pyodide")
    assert prepared(page, url, data).evaluate(load) == first
    assert page.evaluate("(p) => greedy(session, p, 8).then((c) => c.tokens)", PROMPTS[0]) == expected(
        reference, PROMPTS[0], 8
    )
    assert asked == []


def test_a_file_at_an_address_is_loaded_like_a_dropped_one(page, site):
    data, reference = small()
    url = site()
    page.route("**/far.gguf", lambda route: answer_ranges(route, data))
    prepared(page, url)
    found = page.evaluate(
        "async (p) => { const s = await make().load({ url: './far.gguf' }); return [(await greedy(s, p, 8)).tokens, s.manifest.merkleRoot]; }",
        PROMPTS[0],
    )
    assert found[0] == expected(reference, PROMPTS[0], 8) and re.fullmatch("[0-9a-f]{64}", found[1])


def answer_ranges(route, data):
    wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", route.request.headers.get("range", ""))
    part = data[int(wanted[1]) : int(wanted[2]) + 1] if wanted else data
    headers = {"Content-Length": str(len(part)), "Cross-Origin-Resource-Policy": "same-origin"}
    route.fulfill(status=206 if wanted else 200, body=b"" if route.request.method == "HEAD" else part, headers=headers)


def test_an_encoders_file_embeds_as_numpy_does(page, site):
    data, reference = small("bert")
    prepared(page, site(), data)
    found = page.evaluate("""async () => {
      const session = await make().load({ file: gguf });
      const [vector] = await session.embedBatch(["w1 w2 w3"]);
      return { type: session.type, vector: Array.from(vector), dimensions: session.dimensions, refused: (await caught(() => session.generate("x"))).code, tokens: await session.encode("w1 w2 w3") };
    }""")
    made = reference.vector([2, *found["tokens"], 3])
    assert found["type"] == "embedding" and found["dimensions"] == len(made) == len(found["vector"])
    assert sum(a * b for a, b in zip(found["vector"], made, strict=True)) > 0.999
    assert found["refused"] == "not_supported"


BAD = [
    ("no GGUF", b"PK\x03\x04" + bytes(5000), "gguf_invalid"),
    ("a file cut short", lmmodel.gguf("qwen2")[:-1000], "gguf_invalid"),
    ("an empty file", b"", "gguf_invalid"),
]


@pytest.mark.parametrize(("why", "data", "code"), BAD, ids=[row[0] for row in BAD])
def test_a_file_that_cannot_be_run_is_refused_by_name_and_leaves_no_worker(page, site, why, data, code):
    prepared(page, site(), data)
    answer = page.evaluate("caught(() => make().load({ file: gguf }))")
    assert answer.get("code") == code, answer
    assert page.evaluate("languageWorkers().length") == 0


# --- a model of the site
@pytest.fixture
def model(page, site):
    """A page with the site's code model open as `session`."""
    prepared(page, site())
    page.evaluate(f"async () => {{ window.session = await make().load('{MODEL}'); }}")
    return page


def test_a_model_of_the_site_generates_without_python(page, site):
    asked = requests_of(page, "pyodide")
    prepared(page, site())
    found = page.evaluate(f"""async () => {{
      const session = await make().load("{MODEL}");
      return {{ text: await session.generate("import o", {{ temperature: 0, maxTokens: 8 }}), trust: session.trust, info: session.info }};
    }}""")
    assert found["trust"] == "signed" and found["text"] and asked == []


def test_pieces_are_the_text_and_leaving_the_loop_frees_the_engine(model):
    found = model.evaluate("""async () => {
      const pieces = [], greedy = { temperature: 0, maxTokens: 24 };
      const stream = session.generateStream("def main(", greedy);
      for await (const piece of stream) pieces.push(piece);
      const whole = await stream.result;
      for await (const piece of session.generateStream("class A:", { maxTokens: 2000 })) if (piece) break;
      const again = await session.generate("def main(", greedy);
      const repeated = await session.complete({ prompt: "def main(" }, greedy);
      return { pieces, whole, again, cached: repeated.usage.cached };
    }""")
    assert "".join(found["pieces"]) == found["whole"]["text"] == found["again"]
    assert len(found["pieces"]) > 3 and found["whole"]["reason"] in ("length", "stop") and found["cached"] > 0


def test_a_seed_repeats_a_text_and_the_answer_tells_the_seed(model):
    found = model.evaluate("""async () => {
      const drawn = await session.complete({ prompt: "import " }, { temperature: 1.2, maxTokens: 16 });
      const again = await session.generate("import ", { temperature: 1.2, maxTokens: 16, seed: drawn.seed });
      return [drawn.text, again];
    }""")
    assert found[0] == found[1]


def test_a_stop_sequence_ends_the_text_before_it(model):
    found = model.evaluate(
        "session.complete({ prompt: 'def f(x):\\n' }, { temperature: 0, maxTokens: 60, stopSequences: ['\\n'] })"
    )
    assert "\n" not in found["text"] and found["reason"] in ("stop", "length")


def test_a_cancel_rejects_and_the_others_go_on(model):
    found = model.evaluate("""async () => {
      const controller = new AbortController(), greedy = { temperature: 0, maxTokens: 24 };
      const alone = await session.generate("def main(", greedy);
      const other = session.generate("def main(", greedy);
      const stream = session.generateStream("class A:", { maxTokens: 2000 }, { signal: controller.signal });
      const cancelled = caught(async () => { for await (const piece of stream) controller.abort(); });
      return [(await cancelled).name, (await other) === alone];
    }""")
    assert found == ["AbortError", True]


def test_a_worker_that_died_is_started_again_from_the_store(model):
    found = model.evaluate("""async () => {
      const greedy = { temperature: 0, maxTokens: 8 }, before = await session.generate("import o", greedy);
      languageWorkers()[0][1].terminate();
      const told = await caught(() => session.generate("import o", { maxTokens: 4 }));
      return { told: told.code, before, after: await session.generate("import o", greedy), said: said.map((s) => s.code), workers: languageWorkers().length };
    }""")
    assert found["before"] == found["after"] and found["told"] == "worker_died"
    assert "engine_restarted" in found["said"] and found["workers"] == 2


def test_dispose_ends_the_worker(model):
    model.evaluate("session.dispose()")
    assert model.evaluate("caught(() => session.generate('x'))")["code"] == "disposed"
    assert model.evaluate("loader.status().then((s) => s.languages)") == []


def renderers():
    """(MiB in memory, worker threads) of all pages of the browser that this process started."""
    found = [0, 0]
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error, OSError):
            if "--type=renderer" not in " ".join(process.cmdline()):
                continue
            names = [(task / "comm").read_text() for task in Path(f"/proc/{process.pid}/task").iterdir()]
            found[0] += process.memory_info().rss >> 20
            found[1] += sum(name.startswith("DedicatedWorker") for name in names)
    return found


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads of another process are seen in /proc alone")
def test_loading_and_disposing_over_and_over_leaves_neither_memory_nor_threads(page, site):
    prepared(page, site())
    page.evaluate("async () => { await make().listModels(); }")
    idle = renderers()[1]
    after = []
    for _ in range(5):
        page.evaluate(f"""async () => {{
          const session = await loader.load("{MODEL}", {{ threads: 3 }});
          await session.generate("import ", {{ maxTokens: 4 }});
          await session.dispose();
          workers.length = 0;
        }}""")
        eventually(
            page, lambda: renderers()[1] <= idle
        )  # a thread that waits in WebAssembly is ended by force, after two seconds
        page.context.new_cdp_session(page).send("HeapProfiler.collectGarbage")
        after.append(renderers()[0])
    assert max(after[1:]) < after[0] + 20, "one model takes about 50 MiB"


def test_a_chat_with_a_model_that_has_no_template_is_refused_by_name(model):
    assert model.evaluate("caught(() => session.chat([{ role: 'user', content: 'hi' }]))")["code"] in (
        "invalid_option",
        "no_chat_template",
    )


def test_a_pool_is_one_copy_of_the_weights_and_answers_as_alone(page, site):
    prepared(page, site())
    found = page.evaluate(f"""async () => {{
      const prompts = ["import o", "def main(", "class A", "for i in ", "return "], greedy = {{ temperature: 0, maxTokens: 12 }};
      const worker = new sdk.ModelWorker();
      await worker.load("{MODEL}");
      const heard = [];
      worker.onToken((piece) => heard.push(piece));
      const streamed = await worker.generateStream(prompts[0], greedy);
      const alone = [];
      for (const prompt of prompts) alone.push(await worker.generate(prompt, greedy));
      worker.terminate();
      const before = languageWorkers().length, pool = new sdk.ModelWorkerPool({{ workers: 4, model: "{MODEL}" }});
      const together = await Promise.all(prompts.map((prompt) => pool.generate(prompt, greedy)));
      const batch = await pool.batch(prompts.map((prompt, i) => ({{ id: `t${{i}}`, prompt, options: greedy }})));
      const copies = languageWorkers().length - before;
      pool.terminate();
      return {{ alone, together, batch: batch.map(({{ text }}) => text), ids: batch.map(({{ id }}) => id), copies, streamed, heard: heard.join("") }};
    }}""")
    assert found["together"] == found["batch"] == found["alone"] and found["copies"] == 1
    assert found["streamed"] == found["heard"] == found["alone"][0]
    assert found["ids"] == ["t0", "t1", "t2", "t3", "t4"]


# --- frames
def test_a_page_of_another_origin_generates_from_files_and_models_of_the_frames_site(page, dist, tmp_path):
    data, reference = small()
    (tmp_path / "index.html").write_text(PAGE)
    with hosted(dist, host="127.0.0.1") as engine, hosted(tmp_path, isolated=False) as shop:
        page.goto(shop)
        page.evaluate(ADD, engine + "edgenet.global.js")
        page.evaluate(HELP, [base64.b64encode(data).decode(), "mine.gguf"])
        found = page.evaluate(
            f"""async (prompt) => {{
          const loader = new edgenet.ModelLoader();
          const own = await loader.load({{ file: gguf }});
          const {{ tokens }} = await greedy(own, prompt, 8);
          const model = await loader.load("{MODEL}"), pieces = [];
          for await (const piece of model.generateStream("import o", {{ temperature: 0, maxTokens: 8 }})) pieces.push(piece);
          const refused = await own.askAny("lm.load", {{}}).catch((error) => error.code);
          await own.dispose();
          return {{ tokens, pieces, isolated: model.info.isolated, own: crossOriginIsolated, refused, left: (await loader.status()).languages.length }};
        }}""",
            PROMPTS[0],
        )
    assert found["tokens"] == expected(reference, PROMPTS[0], 8)
    assert len(found["pieces"]) > 1 and (found["isolated"], found["own"]) == (True, False)
    assert (found["refused"], found["left"]) == ("unknown_kind", 1)
