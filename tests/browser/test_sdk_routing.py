"""`adapters: "auto"` on the built site, in Chromium: adapters taught two kinds of texts, told apart by the site's embedding model."""

import pytest

from tests.browser.hosting import hosted
from tests.browser.test_embed import ADD, PAGE
from tests.browser.test_sdk import MODEL as EMBEDDER
from tests.browser.test_sdk_language import MODEL, prepared, requests_of

pytestmark = pytest.mark.browser
TEXTS = {
    "recipes": [
        "Beat the eggs with sugar until pale and fold in the flour.",
        "Simmer the onions in butter for twenty minutes.",
        "Let the dough rise in a warm place for an hour.",
        "Roast the pumpkin at 200 degrees until soft, then season the soup with nutmeg and a little cream.",
    ],
    "tests": [
        "def test_the_total_is_the_sum_of_its_parts():\n    assert total([1, 2, 3]) == 6\n",
        "@pytest.mark.parametrize('value', [0, -1])\ndef test_a_wrong_value_is_refused(value):\n    with pytest.raises(ValueError):\n        parse(value)\n",
        "@pytest.fixture\ndef folder(tmp_path):\n    return tmp_path / 'made'\n",
        "class TestParser(unittest.TestCase):\n    def test_empty(self):\n        self.assertEqual(parse(''), [])\n",
    ],
}
REQUESTS = {
    "How long do I bake a plum cake?": "recipes",
    "vegetarian soup for two": "recipes",
    "def test_the_parser_refuses_an_empty_list():\n    with pytest.raises(": "tests",
    "why does my unit test not find its fixture": "tests",
    "What is the capital of Peru?": None,
    "my knee hurts when I run": None,
}

KIT = """([texts, model, embedder]) => Object.assign(window, {
  texts,
  opened: async () => { window.session = await make({ memory: { maxModels: 3 } }).load(model, { threads: 1 }); },
  embedding: () => (window.embedder ??= loader.load(embedder)),
  taught: async (name, options) => {
    const trainer = session.createTrainer({ name, lora: { r: 2, targetModules: ["q", "v"] }, training: { maxSteps: 3, maxLength: 32, learningRate: 0.02, warmupSteps: 0 } });
    await trainer.train(texts[name]);
    return session.adapters.keep(await trainer.adapter(), options);
  },
  answered: async (prompt, adapters = "auto") => {
    const { text, routed } = await session.complete({ prompt }, { temperature: 0, maxTokens: 8, adapters });
    return { text, routed, name: routed && routed.name };
  },
})"""


def opened(page, url):
    """The site's code model as `session`, who embeds as `embedding`."""
    prepared(page, url)
    page.evaluate(KIT, [TEXTS, MODEL, EMBEDDER])
    page.evaluate("() => opened()")
    return page


@pytest.fixture
def model(page, site):
    """With an adapter taught recipes and one taught tests, both described."""
    opened(page, site())
    page.evaluate("""async () => {
      session.adapters.router = { embedder: embedding };
      window.ids = {};
      for (const name of Object.keys(texts)) ids[name] = (await taught(name)).id;
    }""")
    return page


def test_requests_go_to_the_adapter_that_was_taught_something_like_them_and_others_to_none(model):
    found = model.evaluate(
        """async (requests) => {
      const all = {};
      for (const prompt of requests) {
        const one = await answered(prompt);
        all[prompt] = { ...one, again: (await answered(prompt, one.routed ? one.routed.id : [])).text };
      }
      return all;
    }""",
        list(REQUESTS),
    )
    assert {prompt: one["name"] for prompt, one in found.items()} == REQUESTS
    assert all(one["text"] == one["again"] for one in found.values()), "what the same adapter says by name, or none"
    scores = [one["routed"]["score"] for one in found.values() if one["routed"]]
    assert min(scores) >= 0.18 and max(scores) < 1


def test_a_page_that_comes_back_routes_without_python(model):
    asked = requests_of(model, "pyodide")
    opened(model, model.url.removesuffix("blank.html"))
    prompt = "Simmer the soup and add"
    found = model.evaluate(
        """async (prompt) => {
      session.adapters.use("auto", { embedder: embedding });
      const before = (await session.adapters.list()).adapters.length;
      const stream = session.generateStream(prompt, { temperature: 0, maxTokens: 8 });
      let text = "";
      for await (const piece of stream) text += piece;
      const { routed } = await stream.result;
      const profiles = (await session.adapters.saved()).map(({ name, profile: { mean, count, model } }) => [name, mean.length, count, model]).sort();
      const { base } = await session.askWorker("lm.adapters.base");
      const bases = (await session.adapters.saved()).map(({ baseId }) => baseId === base);
      return { bases, before, text, name: routed.name, loaded: (await session.adapters.list()).adapters.length, profiles };
    }""",
        prompt,
    )
    assert (found["before"], found["loaded"], found["name"]) == (0, 1, "recipes") and found["text"]
    assert found["bases"] == [True, True], "what the engine says of the model, and Python of its adapters"
    version = found["profiles"][0][3]
    assert version.startswith(f"{EMBEDDER}@")
    assert found["profiles"] == [["recipes", 384, 4, version], ["tests", 384, 4, version]]
    assert asked == []


def test_what_is_known_of_an_adapter_is_changed_forgotten_and_in_no_export(model):
    found = model.evaluate("""async () => {
      const { adapters } = session, first = async (text) => (await adapters.route(text))[0]?.name ?? null;
      const { profile } = await adapters.describe(ids.tests, "The tenant shall pay the rent on the first day of each month.");
      const changed = [await first("can my landlord raise the rent?"), await first("def test_the_parser_refuses("), profile.examples];
      await adapters.describe(ids.tests, null);
      const forgotten = [await first("can my landlord raise the rent?"), (await adapters.saved()).filter(({ profile }) => profile).length];
      const words = texts.recipes[0], held = [];
      for (const format of ["peft", "json", "gguf"]) held.push((await (await adapters.export(ids.recipes, format)).text()).includes(words));
      const [{ profile: kept }] = (await adapters.saved()).filter(({ id }) => id === ids.recipes);
      const file = await adapters.export(ids.recipes, "json");
      await adapters.remove(ids.recipes);
      const without = (await adapters.import(file)).profile;
      await adapters.remove(ids.recipes);
      return { changed, forgotten, held, without, with: (await adapters.import(file, { profile: kept })).profile.examples[0] === words };
    }""")
    assert found["changed"] == [
        "tests",
        None,
        ["The tenant shall pay the rent on the first day of each month."],
    ]
    assert found["forgotten"] == [None, 1]
    assert found["held"] == [False] * 3 and found["without"] is None and found["with"]


def test_another_embedding_model_knows_nothing_of_them_and_an_adapter_that_is_gone_is_passed_over(model):
    found = model.evaluate(
        """async (embedder) => {
      const prompt = "vegetarian soup for two", older = await loader.load(embedder, { version: "1.0.0" });
      const other = await session.adapters.route(prompt, { embedder: older, threshold: -1 });
      await session.adapters.describe(ids.tests, texts.recipes, { embedder: older });
      const [own] = await session.adapters.route(prompt, { embedder: older });
      const removed = (await answered(prompt)).name;
      await session.adapters.remove(ids.recipes);
      return { other, own: own.name, removed, after: (await answered(prompt)).routed };
    }""",
        EMBEDDER,
    )
    assert found == {"other": [], "own": "tests", "removed": "recipes", "after": None}


def test_a_course_that_a_reload_cut_short_is_described_by_what_it_learned_from(model):
    model.evaluate("""async () => {
      const trainer = session.createTrainer({ name: "left", lora: { r: 2, targetModules: ["q"] }, training: { maxSteps: 60, maxLength: 32, checkpointEvery: 1, maxEpochs: 0 } });
      await trainer.train("The court held that the contract was void. ".repeat(40), { onEvent: ({ kind, step }) => { if (kind === "step" && step === 2) trainer.cancel(); } });
    }""")
    opened(model, model.url.removesuffix("blank.html"))
    found = model.evaluate("""async () => {
      const [{ id }] = await session.trainers();
      const trained = await (await session.resumeTrainer(id)).adapter();
      await session.adapters.keep(trained, { embedder: embedding });
      return session.adapters.route("what happens if I break a contract", { embedder: embedding });
    }""")
    assert [one["name"] for one in found] == ["left"]


def test_a_page_of_another_origin_routes_among_its_own(page, dist, tmp_path):
    (tmp_path / "index.html").write_text(PAGE)
    with hosted(dist, host="127.0.0.1") as engine, hosted(tmp_path, isolated=False) as shop:
        page.goto(shop)
        page.evaluate(ADD, engine + "edgenet.global.js")
        page.evaluate("() => { window.make = (options) => (window.loader = new edgenet.ModelLoader(options)); }")
        page.evaluate(KIT, [TEXTS, MODEL, EMBEDDER])
        found = page.evaluate("""async () => {
          await opened();
          const { id } = await taught("recipes");
          await session.adapters.describe(id, texts.recipes, { embedder: embedding });
          session.adapters.router = { embedder: embedding };
          return [(await answered("vegetarian soup for two")).name, (await answered("my knee hurts when I run")).routed];
        }""")
    assert found == ["recipes", None]
