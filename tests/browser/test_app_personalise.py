"""The Personalise tab on the built site, in Chromium, with the site's code model: from a person's file to an adapter that is used."""

import json
import re
import zipfile

import pytest
from playwright.sync_api import expect

from tests.browser.apppage import SLOW, App
from tests.browser.waiting import eventually

pytestmark = pytest.mark.browser

UNITS, PLACES = ("metres", "feet", "yards"), ("field", "garden", "meadow", "orchard", "pond", "roof", "wall", "floor")
TEXT = "".join(
    f'def area_of_{place}_in_{unit}(width, height):\n    """Return the area of the {place} in square {unit}."""\n'
    f"    result = width * height\n    return check_{place}(result, unit={unit!r})\n\n\n"
    for place in PLACES
    for unit in UNITS
)


# In the page, at the first drawing that tells of such a step: nothing can outrun it.
PAUSE_PAST = """(step) => new Promise((paused) => {
  const course = document.querySelector('.underway');
  const look = () => {
    const at = /step ([\\d,]+) of/.exec(course.querySelector('.facts').textContent)?.[1].replace(',', '') ?? 0;
    const pause = [...course.querySelectorAll('button')].find((button) => button.textContent === 'Pause');
    if (at <= step || !pause) return;
    watch.disconnect();
    pause.click();
    paused();
  };
  const watch = new MutationObserver(look);
  watch.observe(course, { subtree: true, childList: true, characterData: true });
})"""


class Tab(App):
    """The tab as a person meets it: `course` is the part that tells how it goes."""

    def __init__(self, page, url):
        self.refused = []
        page.on("console", lambda m: self.refused.append(m.text) if "Content Security" in m.text else None)
        super().__init__(page, f"{url}#personalise")
        page.locator("#personalise").wait_for()
        page.get_by_text("signed by this site").first.wait_for()
        self.course, self.cards = page.locator("section.underway"), page.locator(".adapter")

    def load(self):
        self.page.locator("#personalise").get_by_role("button", name=re.compile("^Load")).click()
        self.page.locator("#personalise button.running").wait_for(timeout=SLOW)
        return self

    def given(self, **files):
        payload = [{"name": name.replace("__", "."), "mimeType": "", "buffer": data} for name, data in files.items()]
        self.page.locator("input[data-pick=material]").set_input_files(payload)
        self.page.locator(".given .document").first.wait_for()
        return self

    def set(self, **numbers):
        summary = self.page.get_by_text("Settings by hand")
        if not self.page.locator("[data-setting=r]").is_visible():
            summary.click()
        for name, value in numbers.items():
            self.page.locator(f"[data-setting={name}] input").fill(str(value))
        return self

    def start(self, name=""):
        if name:
            self.page.locator(".begin input").fill(name)
        self.page.get_by_role("button", name="Start").click()
        return self

    def until(self, words):
        self.course.locator("h2", has_text=words).wait_for(timeout=SLOW)
        return self

    def pause_past(self, step):
        """Pauses the course as soon as it is past a step."""
        self.page.evaluate(PAUSE_PAST, step)
        return self.until("Paused")

    def again(self):
        self.page.get_by_role("button", name="Teach again").click()
        return self

    def card(self, name):
        """The card of exactly this name."""
        return self.cards.filter(has=self.page.locator("h3", has_text=re.compile(f"^{re.escape(name)}$")))


@pytest.fixture
def tab(page, site):
    """The tab with the site's model loaded and a text of one's own, set to a few short steps."""
    tab = Tab(page, site()).load().given(areas__py=TEXT.encode())
    yield tab.set(maxSteps=12, maxLength=64)
    assert tab.refused == []


@pytest.fixture
def learned(tab):
    tab.start().until("Learned")
    tab.card("mine").get_by_text("Automatic knows it").wait_for(timeout=SLOW)  # comes a moment later
    return tab


def numbers(text, pattern):
    return [float(n) for n in re.search(pattern, text).groups()]


def test_before_anything_is_given_the_tab_says_what_to_do(page, site):
    tab = Tab(page, site())
    assert page.get_by_role("button", name="Start").is_disabled()
    assert "Give it something to learn from" in page.locator(".estimate").inner_text()
    assert "Load the model" in page.locator(".shelf").inner_text()
    assert page.get_by_text("never leave this browser").count() == 1
    assert not tab.asked(re.compile(r"\.gguf"))


def test_files_are_listed_removed_with_a_way_back_and_refused_with_a_reason(page, site):
    tab = Tab(page, site())
    tab.given(mine__txt=b"Some words of mine.", pairs__jsonl=b'{"input": "a"}\n', scan__pdf=b"%PDF-1.7")
    assert page.locator(".given .name").all_inner_texts() == ["mine.txt"]
    told = page.locator(".given .skipped").inner_text()
    assert "PDF" in told and "line 1" in told
    page.get_by_role("button", name="Remove mine.txt").click()
    page.locator(".given .document").wait_for(state="detached")
    tab.toast("will not be learned").get_by_role("button", name="Undo").click()
    page.locator(".given .document").wait_for()
    eventually(page, lambda: tab.kept("personalise.material"))
    tab.reload()
    assert page.locator(".given .name").all_inner_texts() == ["mine.txt"], "what was given is kept"


def test_a_course_is_estimated_watched_and_ends_with_an_adapter_that_foretells_better(tab):
    page = tab.page
    page.locator(".estimate", has_text=re.compile(r"About .* of memory")).wait_for(timeout=SLOW)
    tab.start("areas").until("Learned")
    before, after = numbers(tab.course.inner_text(), r"held back: ([\d.]+) before, ([\d.]+) after")
    assert after < before
    assert "step 12 of 12" in tab.course.inner_text()
    assert page.locator(".loss path.train").count() == page.locator(".loss path.validation").count() == 1
    page.get_by_text("As a table").click()
    rows = page.locator(".numbers tbody tr").all_inner_texts()
    assert len(rows) == 13 and rows[0].startswith("0") and rows[-1].startswith("12")
    assert "Loss at step 12" in page.locator(".loss svg").get_attribute("aria-label")
    for sample in page.locator(".samples li").all():
        assert sample.locator(".before, .after, .truth").count() == 3 and sample.locator(".after pre").inner_text()
    assert any(page.locator(".samples .before pre").all_inner_texts()), "what the model wrote as it was"
    card = tab.card("areas").inner_text()
    assert "rank 4 · q, k, v, o, gate, up, down" in card and f"{after:.2f} after" in card and "12 steps" in card


def test_what_was_learned_is_chosen_in_complete_and_stays_chosen(learned):
    page = learned.page
    page.get_by_role("button", name="Use it").click()
    learned.toast("is on").wait_for()
    learned.go("complete")
    picker = page.locator("#complete .worn select")
    assert picker.evaluate("(e) => e.selectedOptions[0].text") == "mine"
    page.locator("#complete .worn input").fill("0.5")
    learned.go("personalise")
    expect(learned.card("mine").get_by_label("How much of mine")).to_have_value("0.5", timeout=SLOW)  # and is kept
    learned.go("complete").reload().loaded()
    page.locator("#complete .worn").wait_for(timeout=SLOW)
    assert picker.evaluate("(e) => e.selectedOptions[0].text") == "mine"
    assert page.locator("#complete .worn output").inner_text() == "0.5"
    picker.select_option("")
    page.locator("#complete .worn .scale").wait_for(state="hidden")
    learned.go("personalise")
    assert not learned.card("mine").get_by_label("Use it in Complete and Chat").is_checked()


def test_a_course_is_paused_goes_on_and_is_stopped_with_what_it_has(tab):
    page = tab.page
    tab.set(maxSteps=2000, maxEpochs=0).start()
    tab.course.locator(".facts", has_text=re.compile(r"[1-9][\d,]* tokens/s · .*\d (s|min|h)\b.* left")).wait_for(
        timeout=SLOW
    )
    page.locator(".loss path.train").wait_for(state="attached", timeout=SLOW)
    assert "Learning" in tab.course.locator("h2").inner_text(), "the curve is there while it learns"
    page.get_by_role("button", name="Pause").click()
    tab.until("Paused")
    page.get_by_role("button", name="Go on").click()
    tab.until("Learning")
    page.get_by_role("button", name="Stop").click()
    tab.until("Learned")
    assert "Stopped; the best so far is kept" in tab.course.inner_text()
    assert tab.cards.count() == 1


def test_a_course_whose_tab_was_reloaded_is_found_and_goes_on(tab):
    page = tab.page
    tab.set(maxSteps=80, maxEpochs=0).start().pause_past(25).reload()
    banner = page.locator(".left", has_text="Unfinished training found")
    banner.wait_for(timeout=SLOW)
    assert re.search(r"Step \d+ of 80", banner.inner_text())
    page.get_by_role("button", name="Go on").click()
    tab.until("Learned")
    assert "step 80 of 80" in tab.course.inner_text() and "before" in tab.card("mine").inner_text()
    page.get_by_text("As a table").click()
    assert page.locator(".numbers tbody tr").first.inner_text().startswith("0"), "the curve has its beginning"
    page.locator(".left:empty").wait_for(state="attached")


@pytest.mark.parametrize("form", ["PEFT (zip)", "EdgeNet (JSON)", "GGUF (llama.cpp)"])
def test_an_exported_adapter_comes_back_and_does_the_same(learned, tmp_path, form):
    page = learned.page
    card = learned.card("mine")
    with page.expect_download() as saved:
        card.get_by_role("button", name=f"as {form}").click()
    path = tmp_path / saved.value.suggested_filename
    saved.value.save_as(path)
    card.get_by_role("button", name="Delete mine").click()
    learned.toast("deleted").wait_for()
    assert learned.cards.count() == 0
    page.locator("input[data-pick=adapter]").set_input_files(path)
    learned.toast("is here").wait_for(timeout=SLOW)
    assert "rank 4" in learned.cards.first.inner_text()


def test_the_files_of_a_peft_folder_come_in_together(learned, tmp_path):
    page = learned.page
    with page.expect_download() as saved:
        learned.card("mine").get_by_role("button", name="as PEFT").click()
    with zipfile.ZipFile(saved.value.path()) as archive:
        archive.extractall(tmp_path)
    names = ("adapter_config.json", "adapter_model.safetensors")
    config, weights = (next(tmp_path.rglob(name)) for name in names)
    assert json.loads(config.read_text())["r"] == 4
    page.get_by_role("button", name="Delete mine").click()
    learned.toast("deleted").wait_for()
    page.locator("input[data-pick=adapter]").set_input_files([config, weights])
    learned.toast("is here").wait_for(timeout=SLOW)
    assert learned.card("imported").count() == 1


def test_a_deleted_adapter_comes_back_as_it_was_and_another_name_stays(learned):
    page = learned.page
    page.get_by_role("button", name="Rename mine").click()
    page.keyboard.type("Areas")
    page.keyboard.press("Enter")
    card = learned.card("Areas")
    card.get_by_label("Use it in Complete and Chat").click()
    page.locator(".adapter.on").wait_for()
    card.get_by_role("button", name="Keep Areas loaded").click()
    card.locator("button[aria-pressed=true]").wait_for()
    told = card.inner_text()
    page.get_by_role("button", name="Delete Areas").click()
    card.wait_for(state="detached")
    learned.toast("deleted").get_by_role("button", name="Undo").click()
    card.wait_for(timeout=SLOW)
    page.locator(".adapter.on").wait_for()
    assert card.inner_text() == told
    learned.reload()
    page.locator(".adapter.on").wait_for(timeout=SLOW)
    assert learned.card("Areas").count() == learned.card("Areas").locator("button[aria-pressed=true]").count() == 1


def test_two_are_merged_and_the_error_of_the_refit_is_told(learned):
    page = learned.page
    learned.again().set(maxSteps=6).start("other").until("Learned")
    learned.card("other").get_by_text("Automatic knows it").wait_for(timeout=SLOW)
    page.get_by_role("button", name="Merge").click()
    dialog = page.locator("dialog")
    dialog.get_by_label("How").select_option("ties")
    dialog.get_by_label("Weight of other").fill("2")
    dialog.get_by_role("button", name="Merge").last.click()
    learned.toast("was made").wait_for(timeout=SLOW)
    made = learned.cards.filter(has_text="Merged (ties)")
    (error,) = numbers(made.inner_text(), r"leaves out ([\d.]+) %")
    assert 0 < error < 100
    made.get_by_label("Use it in Complete and Chat").click()
    page.locator(".adapter.on", has_text="Merged").wait_for()


BAD = {
    "a text": (b"hello", "not an adapter|no adapter|cannot be"),
    "a damaged zip": (b"PK\x03\x04" + bytes(100), "zip"),
}


@pytest.mark.parametrize("why", BAD)
def test_a_file_that_is_no_adapter_is_refused_in_words(tab, why):
    data, words = BAD[why]
    payload = {"name": "x.zip", "mimeType": "", "buffer": data}
    tab.page.locator("input[data-pick=adapter]").set_input_files([payload])
    toast = tab.page.locator(".toast.bad")
    toast.wait_for(timeout=SLOW)
    assert "Something went wrong" not in toast.inner_text() and re.search(words, toast.inner_text()), toast.inner_text()
    assert tab.cards.count() == 0


DROP = """([selector, name, text]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([text], name));
  document.querySelector(selector).dispatchEvent(new DragEvent('drop', { bubbles: true, cancelable: true, dataTransfer: transfer }));
}"""


def test_a_text_dropped_on_the_tab_is_learned_from_and_is_no_note(page, site):
    tab = Tab(page, site())
    page.evaluate(DROP, ["#personalise h1", "dropped.md", "Some words."])
    page.locator(".given .name", has_text="dropped.md").wait_for()
    assert tab.documents() == []


def test_the_whole_way_by_keyboard_alone(page, site):
    tab = Tab(page, site()).load().given(areas__py=TEXT.encode())
    page.locator("input[name=preset]:checked").focus()
    page.keyboard.press("ArrowLeft")  # round to the last one: reviewer
    assert page.evaluate("document.activeElement.value") == "reviewer"
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.value") == "quick"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # settings by hand
    page.keyboard.press("Tab")
    for _ in range(3):
        page.keyboard.press("Tab")
    page.keyboard.press("Control+a")
    page.keyboard.type("8")
    assert page.locator("[data-setting=maxSteps] input").input_value() == "8"
    page.keyboard.press("Enter")
    tab.until("Learned")
    button = page.get_by_role("button", name="Use it")
    button.focus()
    page.keyboard.press("Enter")
    page.locator(".adapter.on").wait_for()


def test_the_tab_fits_a_phone_before_and_after(page, site):
    page.set_viewport_size({"width": 360, "height": 740})
    tab = Tab(page, site()).load().given(areas__py=TEXT.encode())
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    tab.set(maxSteps=4, maxLength=64).start().until("Learned")
    tab.cards.first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    link = page.locator("nav a[data-tab=personalise]").bounding_box()
    assert 0 <= link["x"] and link["x"] + link["width"] <= 360, "the tab's name is in sight"


def test_the_status_line_shows_all_of_its_rows_on_a_phone(page, site):
    page.set_viewport_size({"width": 360, "height": 740})
    Tab(page, site()).load()
    page.locator(".status .item", has_text="language model ready").wait_for()
    line, button = (page.locator(s).bounding_box() for s in (".status", ".status button"))
    assert line["y"] <= button["y"] and button["y"] + button["height"] <= line["y"] + line["height"]
    assert page.evaluate(
        "(() => { const b = document.querySelector('.status button'); return b.scrollHeight <= b.clientHeight + 1; })()"
    )
    for box in [item.bounding_box() for item in page.locator(".status .item").all()]:
        assert box["y"] >= button["y"] and box["y"] + box["height"] <= button["y"] + button["height"]
