"""The Personalise tab in the hands of somebody who is quick, slips, or uses no mouse: nothing is lost, nothing jumps, and all can be taken back."""

import re

import pytest

from tests.browser.apppage import SLOW
from tests.browser.test_app_personalise import Tab, tab  # noqa: F401 a fixture
from tests.browser.waiting import eventually

pytestmark = pytest.mark.browser
PAST_A_CHECKPOINT = re.compile(r"step (2[6-9]|[3-9]\d|\d[\d,]{2,}) of")  # one is written every 25 steps
UNDER_WAY = re.compile("Getting ready|Learning|Keeping|Learned")
FIVE_STEPS = re.compile(r"step ([5-9]|\d[\d,]+) of")


def test_a_course_whose_model_was_freed_says_how_it_goes_on(tab):  # noqa: F811
    page = tab.page
    tab.set(maxSteps=2000, maxEpochs=0).start("long")
    page.locator(".underway .facts", has_text=PAST_A_CHECKPOINT).wait_for(timeout=SLOW)
    page.locator("#personalise button.running").click()
    page.get_by_role("button", name="Free its memory").click()
    tab.until("It did not finish")
    assert "The model was freed" in tab.course.inner_text()
    form = page.locator("#personalise .teach")
    assert tab.course.bounding_box()["y"] < form.bounding_box()["y"], (
        "the reason does not stand out of sight below the form"
    )
    page.get_by_role("button", name="Load it, to go on").click()
    page.locator(".left", has_text="“long”").get_by_role("button", name="Go on").click()
    tab.until("Learning")
    page.get_by_role("button", name="Stop").click()
    tab.until("Learned")


def test_what_an_unfinished_course_has_learned_is_kept_without_going_on(tab):  # noqa: F811
    page = tab.page
    tab.set(maxSteps=2000, maxEpochs=0).start("short")
    page.locator(".underway .facts", has_text=PAST_A_CHECKPOINT).wait_for(timeout=SLOW)
    tab.reload()
    page.locator(".left", has_text="“short”").get_by_role("button", name="Keep it").click(timeout=SLOW)
    tab.until("Learned")
    assert "Stopped; the best so far is kept" in tab.course.inner_text() and tab.card("short").count() == 1
    page.locator(".left:empty").wait_for(state="attached")


KEPT = """new Promise((resolve) => {
  indexedDB.open('edgenet-adapters-v1').onsuccess = ({ target }) => {
    target.result.transaction('kept').objectStore('kept').getAllKeys().onsuccess = (event) => resolve(event.target.result);
  };
})"""


def test_a_setting_that_cannot_be_is_shown_where_it_was_folded_away(tab):  # noqa: F811
    page = tab.page
    tab.set(r=99)
    page.get_by_text("Settings by hand").click()
    page.get_by_role("button", name="Start").click()
    page.locator("[data-setting=r] input:invalid:focus").wait_for()
    assert not tab.course.is_visible()


def test_who_uses_the_keyboard_is_led_on_where_a_control_goes(tab):  # noqa: F811
    page = tab.page
    tab.given(more__txt=b"Some words.", other__txt=b"More words.")
    for left in ("Remove more.txt", "Remove other.txt"):
        page.locator(".given .tools button").first.press("Enter")
        page.locator(f"[aria-label='{left}']:focus").wait_for()
    page.get_by_role("button", name="Start").press("Enter")
    page.locator("h2:focus", has_text=UNDER_WAY).wait_for()
    tab.until("Learned")
    page.get_by_role("button", name="Teach again").press("Enter")
    page.locator("h2:focus", has_text="What it learns from").wait_for()
    page.get_by_role("button", name="Rename mine").press("Enter")
    page.keyboard.type("Words")
    page.keyboard.press("Enter")
    page.locator("[aria-label='Rename Words']:focus").wait_for()
    page.get_by_role("button", name="Delete Words").press("Enter")
    page.locator("button:focus", has_text="Import").wait_for()


def test_all_files_go_at_once_and_come_back(page, site):
    opened = Tab(page, site()).given(one__txt=b"One.", two__txt=b"Two.")
    page.get_by_role("button", name="Remove all").click()
    page.locator(".given .document").first.wait_for(state="detached")
    opened.toast("2 files will not be learned").get_by_role("button", name="Undo").click()
    page.locator(".given .name", has_text="two.txt").wait_for()
    assert page.locator(".given .name").all_inner_texts() == ["one.txt", "two.txt"]


def test_the_browser_is_asked_to_keep_what_is_learned(tab):  # noqa: F811
    page = tab.page
    page.evaluate("navigator.storage.persist = async () => (window.asked = true)")
    tab.start().until("Learned")
    assert page.evaluate("window.asked")


def test_while_it_learns_nothing_jumps_and_what_was_marked_stays_marked(tab):  # noqa: F811
    page = tab.page
    tab.set(maxSteps=2000, maxEpochs=0).start()
    page.locator(".samples .before pre").nth(2).wait_for(timeout=SLOW)
    places = "['.loss svg', '.samples'].map((s) => document.querySelector(s).getBoundingClientRect().top)"
    before = page.evaluate(places)
    page.evaluate("getSelection().selectAllChildren(document.querySelector('.samples .before pre'))")
    marked = page.evaluate("getSelection().toString()")
    page.locator(".underway .facts", has_text=FIVE_STEPS).wait_for(timeout=SLOW)
    assert page.evaluate(places) == before
    assert page.evaluate("getSelection().toString()") == marked != ""
    page.get_by_role("button", name="Stop").click()
    tab.until("Learned")


def test_a_forgotten_course_comes_back_as_long_as_its_message_stands(tab):  # noqa: F811
    page = tab.page
    tab.set(maxSteps=2000, maxEpochs=0).start("long").until("Learning")
    page.locator(".underway .facts", has_text=PAST_A_CHECKPOINT).wait_for(timeout=SLOW)
    tab.reload()
    banner = page.locator(".left", has_text="“long”")
    banner.wait_for(timeout=SLOW)
    page.get_by_role("button", name="Forget it").click()
    page.locator(".left:empty").wait_for(state="attached")
    tab.toast("is forgotten").get_by_role("button", name="Undo").click()
    banner.wait_for()
    page.get_by_role("button", name="Forget it").click()
    tab.toast("is forgotten").get_by_role("button", name="Close").click()
    tab.toast("is forgotten").wait_for(state="detached")
    eventually(page, lambda: page.evaluate(KEPT), lambda keys: not any(key.startswith("runs/") for key in keys))
