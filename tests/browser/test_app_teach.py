"""Teaching in the app: Python only at the first mark, at most three marks to the top, undo, export, import, reset."""

import json

import pytest

from tests.browser.apppage import PYTHON, SLOW, App

pytestmark = pytest.mark.usefixtures("dist")
QUERY = "the old dragon"
HEAR_TASKS = """() => {
  window.tasks = [];
  const hear = () => document.querySelectorAll('.task').forEach((task) => tasks.push(task.textContent));
  new MutationObserver(hear).observe(document.body, { childList: true, subtree: true });
}"""


@pytest.fixture
def app(page, site):
    app = App(page, site())
    page.get_by_role("button", name="Try it with sample notes").click()
    return app.settled()


def everything(app, query):
    """All documents in order, also the weaker ones."""
    app.search(query)
    more = app.page.get_by_role("button", name="weaker match")
    if more.count():
        more.click()
        more.wait_for(state="detached")
    return app.names()


def test_python_is_not_asked_for_before_the_first_mark_and_its_start_is_shown(app):
    before = everything(app, QUERY)
    assert not app.asked(PYTHON)
    app.page.evaluate(HEAR_TASKS)
    after = app.mark(before[-1])
    assert app.page.evaluate("tasks.some((words) => words.includes('Starting the teacher'))")
    assert app.asked(PYTHON)
    assert after.index(before[-1]) < len(before) - 1
    app.page.locator(".changed").wait_for(timeout=SLOW)


def test_at_most_three_marks_bring_the_last_document_to_the_top(app):
    wanted = everything(app, QUERY)[-1]
    for _ in range(3):
        if app.names()[0] == wanted:
            break
        if app.page.locator(".card .name", has_text=wanted).count():
            rivals = [name for name in app.names() if name != wanted]
            marked = app.page.locator(".thumb.good[aria-pressed=true]").count()
            app.mark(rivals[0], relevant=False) if marked else app.mark(wanted)
    assert app.names()[0] == wanted


def test_a_mark_taken_back_restores_the_order_exactly(app):
    before = everything(app, QUERY)
    app.mark(before[4])
    app.mark(before[4])
    assert app.names() == before
    app.mark(before[3], relevant=False)
    app.go("teaching")
    app.page.locator(".lesson").get_by_role("button", name="Undo this mark").click()
    app.page.locator(".lesson").wait_for(state="detached", timeout=SLOW)
    assert everything(app, QUERY) == before


def test_what_was_taught_can_be_exported_forgotten_and_imported(app, tmp_path):
    page = app.page
    before = everything(app, QUERY)
    taught = app.mark(before[-1])
    app.go("teaching")
    assert page.locator(".lesson").count() == 1
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()
    path = tmp_path / "taught.json"
    download.value.save_as(path)
    json.loads(path.read_text(encoding="utf-8"))
    page.get_by_role("button", name="Forget everything").click()
    page.locator("dialog").get_by_role("button", name="Forget").click()
    page.locator(".lesson").wait_for(state="detached", timeout=SLOW)
    assert everything(app, QUERY) == before
    app.go("teaching")
    page.locator("input[data-pick=teaching]").set_input_files(path)
    page.locator(".lesson").wait_for(timeout=SLOW)
    assert everything(app, QUERY) == taught
    app.go("teaching")
    page.locator("input[data-pick=teaching]").set_input_files({"name": "x.json", "mimeType": "", "buffer": b"{broken"})
    page.locator("dialog").get_by_role("button", name="Replace").click()
    page.locator(".toast.bad", has_text="This backup cannot be used").wait_for(timeout=SLOW)
    assert page.locator(".lesson").count() == 1, "a bad file changes nothing"


def test_a_mark_made_while_more_is_typed_is_of_what_stood_there(app):
    app.search(QUERY)
    app.page.evaluate("""() => {
      const box = document.querySelector('#query');
      box.value = 'something else';
      box.dispatchEvent(new InputEvent('input'));
      document.querySelector('.card .thumb.good').click();
    }""")
    app.go("teaching")
    lesson = app.page.locator(".lesson")
    lesson.wait_for(timeout=SLOW)
    assert QUERY in lesson.inner_text()
