"""Training, adapters and the playground in Firefox: the bits of Chromium, and a person's way through the Personalise tab with pointer and keys."""

import json
import re

import numpy as np
import pytest

from tests.browser.test_app_personalise import TEXT as AREAS
from tests.browser.test_playground import EXAMPLES, NUMBER, cpython  # noqa: F401 a fixture
from tests.browser.test_sdk import PRELUDE
from tests.browser.test_sdk_language import MODEL, prepared
from tests.browser.test_sdk_training import KIT, LORA, TEXT, TOLERANCE, TRAINING, natively

pytestmark = pytest.mark.browser

CUT = """async () => {
  const trainer = made(), onEvent = ({ kind, step }) => { if (kind === "step" && step === 3) trainer.cancel(); };
  return (await trainer.train(text, { onEvent })).reason;
}"""
WHOLE = """async (id) => {
  const trainer = id ? await session.resumeTrainer(id) : made();
  const result = await trainer.train(id ? undefined : text);
  window.adapter = await trainer.adapter();
  return { losses: losses(result), id: adapter.id };
}"""
# What can be done with it: kept, merged with another, used at two scales, in every format out and in again.
USES = """async () => {
  const { id } = await session.adapters.keep(adapter, { name: "first" });
  const other = made({ seed: 1, maxSteps: 2 });
  await other.train(text);
  const second = (await session.adapters.keep(await other.adapter(), { name: "second" })).id;
  const merged = await session.adapters.merge([id, second], { strategy: "ties", name: "both" });
  const drawn = [];
  for (const adapters of [[], id, [{ id, scale: 0.5 }, { id: merged.id, scale: 1 }]]) {
    for (const { id: one } of [adapters].flat().map((one) => (one.id ? one : { id: one }))) await session.adapters.load({ saved: one });
    drawn.push((await session.complete({ prompt: "class Point" }, { temperature: 0, maxTokens: 8, adapters })).tokens);
  }
  const again = [];
  for (const format of ["peft", "json", "gguf"]) {
    const file = await session.adapters.export(merged.id, format);
    const made = await session.adapters.import(file, { name: format });
    again.push([format, made.id === merged.id]);
    if (made.id !== merged.id) await session.adapters.remove(made.id);
  }
  return { merged: merged.id, error: merged.metrics.merge.error, drawn, again, isolated: crossOriginIsolated };
}"""


def learning(browser, url):
    """Firefox with the site's model, open as `session` in a page that is not isolated, on one thread."""
    browser.open(f"{url}licenses.txt")
    browser.evaluate(f"({PRELUDE})()")
    browser.evaluate(f"({KIT})({json.dumps([TEXT, LORA, TRAINING])}) && 0")
    browser.evaluate(f"(async () => {{ window.session = await make().load({MODEL!r}, {{ threads: 1 }}); }})()")


def test_a_course_cut_by_a_reload_and_what_is_made_of_it_have_chromiums_bits(firefox, page, site):
    url = site(isolated=False)
    prepared(page, url, isolated=False)
    page.evaluate(KIT, [TEXT, LORA, TRAINING])
    page.evaluate(f"async () => {{ window.session = await make().load({MODEL!r}, {{ threads: 1 }}); }}")
    wanted = [page.evaluate(work) for work in (WHOLE, USES)]
    learning(firefox, url)
    assert firefox.evaluate(f"({CUT})()") == "cancelled"
    learning(firefox, url)
    found = [
        firefox.evaluate(f"session.trainers().then(([{{ id }}]) => ({WHOLE})(id))"),
        firefox.evaluate(f"({USES})()"),
    ]
    np.testing.assert_allclose(found[0]["losses"], natively("int8"), rtol=TOLERANCE["int8"])
    assert found == wanted, "the same bits in both browsers"
    assert found[1]["isolated"] is False and len({str(tokens) for tokens in found[1]["drawn"]}) > 1


class Tab:
    """The Personalise tab in Firefox, as a person meets it."""

    def __init__(self, browser, url):
        self.browser = browser
        browser.open(f"{url}#personalise")
        self.until("#personalise", "signed by this site")

    def until(self, css, pattern=""):
        """Waits for the words in the first such element, and answers all of its words."""
        found = f"document.querySelector({json.dumps(css)})?.innerText"
        return self.browser.until(f"(new RegExp({json.dumps(pattern)}).test({found} ?? '') && ({found} || ' '))")

    def button(self, name):
        self.browser.click(role="button", name=name)

    def set(self, **numbers):
        self.browser.evaluate("document.querySelector('[data-setting=r]').closest('details').open = true")
        for name, value in numbers.items():
            self.browser.click(css=f"[data-setting={name}] input")
            self.browser.press("Control+a", *str(value))


def test_a_person_teaches_reloads_goes_on_uses_renames_saves_and_brings_back_an_adapter(firefox, site, tmp_path):
    path = tmp_path / "areas.py"
    path.write_text(AREAS)
    tab = Tab(firefox, site())
    firefox.click(css="#personalise button.primary")
    tab.until("#personalise button.running")
    firefox.choose("input[data-pick=material]", path)
    tab.until(".given .name", "areas.py")
    tab.set(maxSteps=2000, maxEpochs=0, maxLength=64)
    firefox.press("Enter")
    tab.until(".underway .facts", "step (2[6-9]|[3-9]\\d|\\d{3}) of 2,000")  # past a checkpoint
    assert firefox.evaluate("document.querySelectorAll('.loss path.train').length") == 1
    firefox.reload()
    at = tab.until(".left", "Unfinished training found: .mine.")
    assert int(re.search(r"Step (\d+) of", at).group(1)) >= 25
    tab.button("Go on")
    tab.until(".underway h2", "Learning")
    tab.button("Stop")
    assert "Stopped; the best so far is kept" in tab.until(".underway", "Learned[^]*after \\(")
    tab.until(".adapter", "Automatic knows it")

    tab.button("Rename mine")
    firefox.press(*"Areas")
    firefox.evaluate("(window.drawn = document.querySelector('.adapter')) && 0")
    firefox.press("Enter")
    firefox.evaluate("(document.querySelector('main').scrollTop = 0)")
    firefox.until("!drawn.isConnected")
    assert firefox.evaluate("document.querySelector('main').scrollTop") == 0, "who has scrolled on stays there"
    assert firefox.evaluate("document.activeElement.ariaLabel") == "Rename Areas"
    tab.button("Use it")
    tab.until(".toasts", "“Areas” is on")
    tab.button("Try it")
    firefox.until("document.querySelector('#complete .worn select')?.selectedOptions[0]?.text === 'Areas'")

    firefox.click(css="nav a[data-tab=personalise]")
    saved = firefox.saved(lambda: tab.button("Export Areas as PEFT (zip)"))
    assert saved.name == "Areas.zip" and saved.stat().st_size > 500_000
    tab.button("Delete Areas")
    tab.until(".shelf .nothing", "Nothing yet")
    firefox.choose("input[data-pick=adapter]", saved)
    assert "rank 4" in tab.until(".adapter", "Areas")


def test_a_script_trains_in_the_playground_as_in_cpython_and_the_next_one_is_stopped(firefox, site, cpython):  # noqa: F811
    wanted = cpython(EXAMPLES["train"])
    firefox.open(f"{site()}playground.html")
    firefox.until("document.querySelector('.run:not([disabled])')")
    ended = "/^(Done|Stopped|It ended)/.test(document.querySelector('.state').textContent) && document.querySelector('.state').textContent"
    given = "(code) => { const box = document.querySelector('.code'); box.focus(); box.select(); document.execCommand('insertText', false, code); }"
    firefox.evaluate(f"({given})({json.dumps(EXAMPLES['train'])})")
    firefox.press("Control+Enter")
    assert firefox.until(ended) == "Done", firefox.evaluate("document.querySelector('.log').innerText")
    printed = firefox.evaluate("[...document.querySelectorAll('.log pre.text')].map((one) => one.textContent).join('')")
    assert NUMBER.sub("#", printed).strip() == NUMBER.sub("#", wanted).strip()
    numbers = [[float(n) for n in NUMBER.findall(text)] for text in (printed, wanted)]
    assert numbers[0] == pytest.approx(numbers[1], rel=0.02, abs=0.01)
    firefox.evaluate(f"({given})({json.dumps(EXAMPLES['train'].replace('max_steps=40', 'max_steps=100000'))})")
    firefox.press("Control+Enter")
    firefox.until(
        "/Running/.test(document.querySelector('.state').textContent) && document.querySelector('.chart path[fill=none]')"
    )
    firefox.click(css=".stop")
    assert firefox.until(ended) == "Stopped"
