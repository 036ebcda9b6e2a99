"""`session.adapters` on the built site, in Chromium: with the site's model and with a file of the user's own, through Python, in frames."""

import base64
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from edgenet.lora import document, peft
from edgenet.lora.adapter import for_base
from edgenet.lora.bound import engine_bytes
from tests.adapters import header_of, merged, random_adapter
from tests.browser import lmmodel
from tests.browser.hosting import hosted
from tests.browser.test_embed import ADD, PAGE
from tests.browser.test_sdk_language import HELP, MODEL, prepared, requests_of, small
from tools.paths import ROOT

pytestmark = pytest.mark.browser
TOKENS = [300, 17, 99, 2000, 3, 1204, 77, 5]

GIVE = """(files) => {
  window.adapters = Object.fromEntries(Object.entries(files).map(([name, data]) => [name, new File([Uint8Array.from(atob(data), (c) => c.charCodeAt(0))], name)]));
  window.folder = [adapters["adapter_config.json"], adapters["adapter_model.safetensors"]];
  window.drawn = (given, options = {}) => session.complete({ tokens: window.tokens }, { temperature: 0, maxTokens: 12, adapters: given, ...options }).then(({ tokens }) => tokens);
}"""


@cache
def shipped():
    """The bytes of the site's model."""
    return (ROOT / "models" / f"{MODEL}.gguf").read_bytes()


def given(data):
    """{name: base64}: adapters made ready for a model's file, and one as PEFT writes it."""
    header = header_of(data)
    ready = {name: engine_bytes(random_adapter(header, name), header) for name in ("a", "b")}
    other = header_of(lmmodel.gguf("llama"))
    ready["other"] = engine_bytes(random_adapter(other, "other"), other)
    files = ready | peft.write(random_adapter(header, "a"))
    return {name: base64.b64encode(content).decode() for name, content in files.items()}


def give(page, data, tokens):
    page.evaluate(GIVE, given(data))
    page.evaluate("(tokens) => { window.tokens = tokens; }", tokens)
    return page


@pytest.fixture
def model(page, site):
    """A page with the site's model open as `session`, and adapters of it."""
    prepared(page, site())
    page.evaluate(f"async () => {{ window.session = await make().load('{MODEL}'); }}")
    return give(page, shipped(), TOKENS)


def cosine(a, b):
    return float(np.ravel(a) @ np.ravel(b) / np.linalg.norm(a) / np.linalg.norm(b))


def test_the_logits_are_those_of_the_weights_with_the_deltas_added_and_no_python_is_needed(page, model):
    asked = requests_of(page, "pyodide")
    found = model.evaluate("""async () => {
      for (const id of ["a", "b"]) await session.adapters.load(adapters[id]);
      const wishes = [{ id: "a", scale: 0.5 }, { id: "b", scale: -1 }];
      const [plain, mixed] = await Promise.all([[], wishes].map((adapters) => session.askWorker("lm.logits", { tokens, adapters })));
      return { plain: [...plain.slice(-4096)], mixed: [...mixed.slice(-4096)] };
    }""")
    header = header_of(shipped())
    added = [(random_adapter(header, "a"), 0.5), (random_adapter(header, "b"), -1)]
    assert cosine(found["mixed"], lmmodel.Reference(merged(shipped(), *added)).logits(TOKENS)) > 0.999
    assert cosine(found["plain"], lmmodel.Reference(shipped()).logits(TOKENS)) > 0.999
    assert cosine(found["plain"], found["mixed"]) < 0.98 and asked == []


def test_requests_choose_their_adapters_and_share_a_batch(model):
    found = model.evaluate("""async () => {
      for (const id of ["a", "b"]) await session.adapters.load(adapters[id]);
      const choices = [[], "a", ["b"], [{ id: "a", scale: 0.5 }, "b"]], alone = [];
      for (const choice of choices) { await session.clearKVCache(); alone.push(await drawn(choice)); }
      await session.clearKVCache();
      const together = await Promise.all(choices.map((choice) => drawn(choice)));
      session.adapters.use("b");
      const used = await drawn(undefined);
      session.adapters.use(null);
      const { adapters: list } = await session.adapters.list();
      return { alone, together, used, after: await drawn(undefined), list: list.map(({ id }) => id).sort() };
    }""")
    assert found["together"] == found["alone"] and len({str(tokens) for tokens in found["alone"]}) == 4
    assert (found["used"], found["after"], found["list"]) == (found["alone"][2], found["alone"][0], ["a", "b"])


def test_a_folder_of_peft_says_the_same_through_python_which_ends_then(model):
    found = model.evaluate("""async () => {
      await session.adapters.load(adapters.a);
      const info = await session.adapters.load({ files: folder }, { id: "peft" });
      return { ready: await drawn("a"), peft: await drawn("peft"), rank: info.rank, python: (await loader.status()).python };
    }""")
    assert found["peft"] == found["ready"] and (found["rank"], found["python"]) == (4, False)


def test_the_site_judges_who_signed_an_adapter_that_comes_in(model, site):
    """One by a key that it does not know is as good as unsigned; one that only claims the site's key is neither kept nor loaded."""
    header = header_of(shipped())
    adapter = for_base(random_adapter(header, "a"), header)
    known = model.request.get(f"{site()}trust.json").json()["keys"][0]["keyId"]
    for name, key in {"stranger": "0" * 16, "claimed": known}.items():
        signature = {
            "algorithm": "ed25519",
            "keyId": key,
            "timestamp": "2026-03-01T12:00:00Z",
            "value": "A" * 86 + "==",
        }
        text = document.write(replace(adapter, signature=signature)).decode()
        model.evaluate("([name, text]) => { adapters[name] = new File([text], name + '.json'); }", [name, text])
    found = model.evaluate("""async () => {
      const code = (work) => work.then(() => null, (error) => error.code);
      const refused = [await code(session.adapters.keep(adapters.claimed)), await code(session.adapters.load(adapters.claimed))];
      const { signedBy } = await session.adapters.keep(adapters.stranger);
      await session.adapters.load(adapters.stranger, { id: "s" });
      return { refused, signedBy, saved: (await session.adapters.saved()).length, loaded: (await session.adapters.list()).adapters.length };
    }""")
    assert found == {"refused": ["signature_invalid"] * 2, "signedBy": None, "saved": 1, "loaded": 1}


def test_a_file_of_the_users_own_takes_adapters(page, site):
    data, _ = small()
    prepared(page, site(), data)
    page.evaluate("async () => { window.session = await make().load({ file: gguf }); }")
    tokens = [5, 17, 99, 200, 3]
    give(page, data, tokens)
    found = page.evaluate("""async () => {
      await session.adapters.load({ files: folder }, { id: "peft" });
      await session.adapters.load(adapters.b);
      return { plain: await drawn([]), peft: await drawn("peft"), b: await drawn("b"), python: (await loader.status()).python };
    }""")
    header = header_of(data)
    for name, adapter in {"peft": "a", "b": "b"}.items():
        reference = lmmodel.Reference(merged(data, (random_adapter(header, adapter), 1)))
        assert found[name] == reference.greedy(tokens, 12)[0]
    assert found["plain"] not in (found["peft"], found["b"]) and found["python"] is False


def test_a_worker_that_died_has_its_adapters_again(model):
    found = model.evaluate("""async () => {
      for (const id of ["a", "b"]) await session.adapters.load(adapters[id]);
      const before = await drawn("b");
      languageWorkers()[0][1].terminate();
      await caught(() => drawn("b"));
      return { before, after: await drawn("b"), ids: (await session.adapters.list()).adapters.map(({ id }) => id).sort() };
    }""")
    assert found["after"] == found["before"] and found["ids"] == ["a", "b"]


BAD = {
    "another base's": ("adapter_mismatch", "adapters.other"),
    "half a file": ("adapter_invalid", "adapters.a.slice(0, 5000)"),
    "a text": ("adapter_invalid", "new Blob(['hello'])"),
    "half a folder": ("adapter_invalid", "{ files: folder.slice(1) }"),
    "an address that is none": ("http_status", "'./nowhere.safetensors'"),
}


@pytest.mark.parametrize("why", BAD)
def test_what_is_no_adapter_of_the_model_is_refused_by_name_and_the_model_goes_on(model, why):
    code, source = BAD[why]
    found = model.evaluate(f"""async () => ({{
      code: (await caught(() => session.adapters.load({source}))).code, list: (await session.adapters.list()).adapters,
      unknown: (await caught(() => drawn("nobody"))).code, plain: (await drawn([])).length,
    }})""")
    assert found == {"code": code, "list": [], "unknown": "adapter_not_found", "plain": 12}


def test_a_page_of_another_origin_uses_adapters_of_its_own(page, dist, tmp_path):
    (tmp_path / "index.html").write_text(PAGE)
    with hosted(dist, host="127.0.0.1") as engine, hosted(tmp_path, isolated=False) as shop:
        page.goto(shop)
        page.evaluate(ADD, engine + "edgenet.global.js")
        page.evaluate(HELP, [base64.b64encode(b"GGUF").decode(), "none.gguf"])
        page.evaluate(
            f"async () => {{ window.loader = new edgenet.ModelLoader(); window.session = await loader.load('{MODEL}'); }}"
        )
        give(page, shipped(), TOKENS)
        found = page.evaluate("""async () => {
          await session.adapters.load(adapters.a);
          await session.adapters.load({ files: folder }, { id: "peft" });
          const refused = await session.askWorker("lm.source", {}).catch((error) => error.code);
          return { a: await drawn("a"), peft: await drawn("peft"), plain: await drawn([]), refused };
        }""")
    assert found["a"] == found["peft"] != found["plain"] and found["refused"] == "unknown_kind"
