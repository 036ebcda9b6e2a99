"""Code as people have it: pages written for other libraries with only the import changed, and the snippets that the docs print, in Chromium."""

import io
import re
import zipfile
from pathlib import Path

import pytest

from edgenet.lora import peft
from tests.adapters import header_of, random_adapter
from tests.browser.apppage import SLOW
from tests.browser.test_sdk_adapters import shipped
from tests.browser.test_sdk_language import MODEL, answer_ranges, chatting, prepared

ROOT = Path(__file__).resolve().parents[2]

# --- pages written for other libraries: only the import and the model's name are changed
WEBLLM = f"""
import {{ CreateMLCEngine }} from "./edgenet.js";

const initProgressCallback = (initProgress) => {{ window.progress = initProgress; }};
const engine = await CreateMLCEngine("{MODEL}", {{ initProgressCallback: initProgressCallback }});

const reply = await engine.completions.create({{ prompt: "import o", max_tokens: 8, temperature: 0 }});
const chunks = await engine.completions.create({{
  prompt: "import o", max_tokens: 8, temperature: 0,
  stream: true, // <-- Enable streaming
  stream_options: {{ include_usage: true }},
}});

let text = "";
for await (const chunk of chunks) {{
  text += chunk.choices[0]?.text || "";
  if (chunk.usage) window.usage = chunk.usage; // only last chunk has usage
}}
window.result = [reply.choices[0].text, text, await engine.getMessage()];
console.log("finished");
"""
WEBLLM_CHAT = """
import { CreateMLCEngine } from "./edgenet.js";

const engine = await CreateMLCEngine({ file: gguf }, { initProgressCallback: (report) => { window.progress = report; } });

const messages = [
  { role: "system", content: "You are a helpful AI assistant." },
  { role: "user", content: "Hello!" },
];
const reply = await engine.chat.completions.create({ messages, max_tokens: 12, temperature: 0 });
const chunks = await engine.chat.completions.create({ messages, max_tokens: 12, temperature: 0, stream: true, stream_options: { include_usage: true } });

let text = "";
for await (const chunk of chunks) {
  text += chunk.choices[0]?.delta.content || "";
  if (chunk.usage) window.usage = chunk.usage;
}
window.result = [reply.choices[0].message.content, text, await engine.getMessage()];
console.log("finished");
"""
WLLAMA = """
import { Wllama } from "./edgenet.js";

const CONFIG_PATHS = { default: "./esm/wasm/wllama.wasm" };
const progressCallback = ({ loaded, total }) => { window.progress = { progress: loaded / total }; };
const wllama = new Wllama(CONFIG_PATHS);
await wllama.loadModelFromUrl("./far.gguf", { progressCallback, n_ctx: 64 });

const reply = await wllama.createCompletion({ prompt: "abc", max_tokens: 12, temperature: 0, top_k: 40, top_p: 0.9 });
const stream = await wllama.createCompletion({ prompt: "abc", max_tokens: 12, temperature: 0, stream: true });
let text = "";
for await (const chunk of stream) text += chunk.choices[0].text;

let heard = "";
await wllama.createChatCompletion({
  messages: [{ role: "user", content: "abc" }],
  max_tokens: 12, temperature: 0, stream: true,
  onData: (chunk) => { heard += chunk.choices[0]?.delta.content ?? ""; window.usage = { total_tokens: heard.length }; },
});
window.result = [reply.choices[0].text, text, text];
await wllama.exit();
console.log("finished");
"""
SNIPPETS = [("WebLLM, text", WEBLLM), ("WebLLM, chat", WEBLLM_CHAT), ("wllama", WLLAMA)]


@pytest.mark.parametrize(("which", "code"), SNIPPETS, ids=[row[0] for row in SNIPPETS])
def test_a_snippet_of_another_library_runs_after_changing_the_import(page, site, which, code):
    data = chatting()
    page.route("**/far.gguf", lambda route: answer_ranges(route, data))
    page.route("**/snippet.js", lambda route: route.fulfill(body=code, content_type="text/javascript"))
    prepared(page, site(), data)
    with page.expect_console_message(lambda message: message.text == "finished", timeout=SLOW):
        page.evaluate(
            "() => { document.body.append(Object.assign(document.createElement('script'), { type: 'module', src: './snippet.js' })); }"
        )
    whole, streamed, message = page.evaluate("result")
    assert whole == streamed == message and whole
    assert page.evaluate("usage.total_tokens") > 1 and page.evaluate("progress.progress") == 1


# --- what the docs print
DOCS = ["language-models.md", "merging.md"]


def zipped_adapter():
    """PEFT's folder of an adapter of the site's model, in a zip."""
    files, data = peft.write(random_adapter(header_of(shipped()), "mine")), io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"mine/{name}", content)
    return data.getvalue()


def snippets():
    for name in DOCS:
        for i, code in enumerate(re.findall(r"```js\n(.*?)```", (ROOT / "docs" / name).read_text(), re.S)):
            yield pytest.param(code, id=f"{name} {i + 1}")


@pytest.mark.parametrize("code", list(snippets()))
def test_every_snippet_of_the_docs_runs_as_printed(page, site, code):
    data = chatting()
    body = f"{code}\nconsole.log('the snippet ran');"
    page.route("**/snippet.js", lambda route: route.fulfill(body=body, content_type="text/javascript"))
    page.route("**/my-model.gguf", lambda route: answer_ranges(route, data))
    page.route("**/mine.zip", lambda route: answer_ranges(route, zipped_adapter()))
    prepared(page, site(), data)
    with page.expect_console_message(lambda message: message.text == "the snippet ran", timeout=SLOW):
        page.evaluate(
            "() => { document.body.append(Object.assign(document.createElement('script'), { type: 'module', src: './snippet.js' })); }"
        )
