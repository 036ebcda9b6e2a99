"""The whole SDK, Python included, under a strict Content-Security-Policy on every file of the site."""

import pytest

from tests.browser.hosting import STRICT, hosted
from tools.serve import ISOLATION

pytestmark = pytest.mark.browser

WORK = """async () => {
  const broken = [];
  document.addEventListener("securitypolicyviolation", (e) => broken.push(`${e.effectiveDirective} ${e.blockedURI}`));
  const { ModelLoader } = await import("./edgenet.js");
  const loader = new ModelLoader(), session = await loader.load("minilm-l6-v2-q8");
  await session.index.put("a", await session.embedBatch(["a cat", "a bank"]));
  const { results } = await session.index.search({ text: "kitten", k: 2 });
  const { marks } = await session.teach.mark({ query: "kitten", id: "a", row: 1, relevant: true });
  const language = await loader.load("python-completion-7m-q8");
  const text = await language.generate("import o", { temperature: 0, maxTokens: 4 });
  const { engine } = await loader.status();
  return { broken, row: results[0].row, marks: marks.length, kernels: engine.kernels.build, text, build: language.info.build };
}"""


def policy_page(page, url, policy):
    """An empty page under the policy: the site's own app would start workers of its own."""
    sent = ISOLATION | {"Content-Security-Policy": policy}
    body = "<!doctype html><html lang=en><meta charset=utf-8><title>policy</title></html>"
    page.route("**/policy.html", lambda route: route.fulfill(body=body, content_type="text/html", headers=sent))
    page.goto(url + "policy.html")


def test_nothing_needs_eval_blobs_or_inline_scripts(page, dist):
    with hosted(dist, {"Content-Security-Policy": STRICT}) as url:
        policy_page(page, url, STRICT)
        found = page.evaluate(WORK)
    assert found["broken"] == []
    assert (found["row"], found["marks"]) == (0, 1)
    assert found["kernels"] != "scalar" and found["text"] and "relaxed" in found["build"]


@pytest.mark.parametrize("model", ["minilm-l6-v2-q8", "python-completion-7m-q8"])
def test_without_wasm_unsafe_eval_the_error_is_ours_and_says_what_is_missing(page, dist, model):
    tighter = STRICT.replace(" 'wasm-unsafe-eval'", "")
    with hosted(dist, {"Content-Security-Policy": tighter}) as url:
        policy_page(page, url, tighter)
        code = page.evaluate(
            """async (model) => {
          const { ModelLoader } = await import("./edgenet.js");
          try { await new ModelLoader().load(model); return "loaded"; } catch (e) { return [e.code, e.message]; }
        }""",
            model,
        )
    assert code[0] == "feature_missing" and "wasm-unsafe-eval" in code[1], code
