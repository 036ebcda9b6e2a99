"""The Personalise tab on the built site, in Chromium: what was learned, saved as a whole model."""

import pytest

from edgenet.formats.gguf import read_header
from tests.browser.apppage import SLOW
from tests.browser.test_app_personalise import learned, numbers, tab  # noqa: F401 fixtures
from tests.browser.waiting import eventually

pytestmark = pytest.mark.browser
# In one moment: however quick the merging, the stop comes before its end.
SAVE_AND_STOP = "(box) => ['Save', 'Stop'].forEach((name) => [...box.querySelectorAll('button')].find((b) => b.textContent === name).click())"


def test_what_was_learned_is_saved_as_a_whole_model_with_its_figures_and_loaded(learned):  # noqa: F811
    page = learned.page
    learned.card("mine").get_by_role("button", name="Save mine as a whole model").click()
    dialog = page.locator("dialog")
    dialog.get_by_role("button", name="Save").click()
    dialog.get_by_role("button", name="Download").wait_for(timeout=SLOW)
    told = dialog.locator(".note").inner_text()
    before, adapter, after = numbers(told, r"held back: ([\d.]+) before, ([\d.]+) with the adapter, ([\d.]+) as")
    (error,) = numbers(told, r"leave out ([\d.]+) %")
    assert adapter < before and abs(after - adapter) < 0.05 and 0 < error < 50
    with page.expect_download() as saved:
        dialog.get_by_role("button", name="Download").click()
    data = saved.value.path().read_bytes()
    header = read_header(lambda at, length: data[at : at + length], len(data))
    assert saved.value.suggested_filename.endswith("-mine.gguf") and header.metadata["general.finetune"] == "mine"
    dialog.get_by_role("button", name="Load it here").click()
    picker = "document.querySelector('#personalise .modelbar select').selectedOptions[0].text"
    eventually(page, lambda: page.evaluate(f"{picker}.endsWith('+ mine')"))
    page.locator("#personalise button.running").wait_for(timeout=SLOW)


def test_a_whole_model_can_be_stopped_and_asked_for_again(learned):  # noqa: F811
    page = learned.page
    learned.card("mine").get_by_role("button", name="Save mine as a whole model").click()
    dialog = page.locator("dialog")
    dialog.get_by_label("Weights that change become").select_option("f32")
    dialog.evaluate(SAVE_AND_STOP)
    dialog.get_by_text("Stopped. Nothing was kept of it.").wait_for(timeout=SLOW)
    dialog.get_by_label("Measure it").uncheck()
    dialog.get_by_role("button", name="Save").click()
    dialog.get_by_role("button", name="Download").wait_for(timeout=SLOW)
    dialog.get_by_label("Weights that change become").select_option("q8_0")
    dialog.get_by_role("button", name="Save").click()
    dialog.get_by_role("button", name="Download").wait_for(timeout=SLOW)
    assert "before" not in dialog.locator(".note").inner_text()
