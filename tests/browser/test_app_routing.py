"""Automatic in Complete and Chat on the built site, in Chromium: an adapter that was taught here answers what it was taught, and nothing else."""

import re

import pytest

from tests.browser.apppage import PYTHON, SLOW
from tests.browser.test_app_personalise import TEXT, Tab

pytestmark = pytest.mark.browser
LIKE = "def area_of_roof_in_miles(width, height):\n    "
UNLIKE = "# my knee hurts when I run in the morning\nknee = "


@pytest.fixture
def learned(page, site):
    """An adapter taught functions that compute areas, in two steps."""
    tab = Tab(page, site()).load().given(areas__py=TEXT.encode())
    tab.set(maxSteps=2, maxLength=64).start("areas").until("Learned")
    tab.card("areas").get_by_text("Automatic knows it").wait_for(timeout=SLOW)
    yield tab
    assert tab.refused == []


def test_what_was_taught_here_is_chosen_by_what_is_asked_and_told_and_is_so_after_a_reload(learned):
    page = learned.page
    learned.go("complete")
    page.locator("#complete .worn select").select_option(label="Automatic")
    page.locator("#complete .worn").get_by_text("something like what is asked").wait_for()
    assert page.locator("#complete .worn .scale").is_hidden()
    learned.reload().loaded()
    page.locator("#complete .worn select option:checked", has_text="Automatic").wait_for(state="attached", timeout=SLOW)
    summary = page.locator("#complete .summary")
    for text, told in ((LIKE, r"by “areas” \(likeness 0\.\d\d\)"), (UNLIKE, "no adapter fitted")):
        page.locator("#code").fill(text)
        summary.filter(has_text=re.compile(told)).wait_for(timeout=SLOW)
    assert not learned.asked(PYTHON)
    learned.go("personalise")
    box = learned.card("areas").get_by_label("Use it in Complete and Chat")
    assert not box.is_checked()
    box.click()
    learned.go("complete")
    page.locator("#complete .worn select option:checked", has_text="areas").wait_for(state="attached")


def test_an_adapter_from_elsewhere_is_not_chosen_and_the_list_says_why(learned, tmp_path):
    page = learned.page
    with page.expect_download() as saved:
        learned.card("areas").get_by_role("button", name="as EdgeNet").click()
    path = tmp_path / saved.value.suggested_filename
    saved.value.save_as(path)
    assert TEXT[:40] not in path.read_text(encoding="utf-8")
    page.get_by_role("button", name="Delete areas").click()
    page.locator("#personalise .adapter").wait_for(state="detached")
    page.locator("input[data-pick=adapter]").set_input_files(path)
    learned.toast("is here").wait_for(timeout=SLOW)
    assert "Automatic" not in learned.card("areas").inner_text()
    learned.go("complete")
    option = page.locator("#complete .worn option", has_text="Automatic")
    assert option.is_disabled() and "none of these was taught here" in option.inner_text()


def test_without_a_network_what_was_taught_is_kept_all_the_same(page, site):
    tab = Tab(page, site()).load().given(areas__py=TEXT.encode())
    tab.set(maxSteps=2000, maxLength=64, maxEpochs=0).start("areas").until("Learning")
    page.context.set_offline(True)  # all but the embedding model is here by now
    page.get_by_role("button", name="Stop").click()
    tab.until("Learned")
    assert tab.card("areas").count() == 1 and "Automatic" not in tab.card("areas").inner_text()
    tab.go("complete")
    assert page.locator("#complete .worn option", has_text="Automatic").is_disabled()
