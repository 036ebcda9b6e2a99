"""The main job in Chromium, with the real model on real text: add, search, open, mark, reload, offline. And the page around it."""

import hashlib
import importlib
import json
import re
import shutil

import pytest

from tests.browser.apppage import PYTHON, SLOW, WEIGHTS, App
from tests.browser.hosting import hosted
from tests.browser.waiting import eventually

pytestmark = pytest.mark.usefixtures("dist")
MODULES = ["zipfile", "sqlite3", "textwrap", "fractions", "secrets", "sched", "calendar", "tempfile", "shlex", "heapq"]


def manual(name):
    """A real text: the documentation that a standard library module carries, and that of its public functions."""
    module = importlib.import_module(name)
    members = [getattr(module, n).__doc__ or "" for n in sorted(getattr(module, "__all__", dir(module))) if n[0] != "_"]
    return "\n\n".join([module.__doc__ or name, *[m for m in members if isinstance(m, str)]])[:6000]


@pytest.fixture
def app(page, site):
    return App(page, site())


def test_the_main_job_from_the_first_visit_to_offline(page, site):
    address = site()
    app = App(page, address)
    page.get_by_text("Nothing leaves this tab").first.wait_for()
    page.locator(".size").filter(has_text=re.compile(r"of 2\d MB")).wait_for()
    assert not app.asked(WEIGHTS), "nothing large is fetched before the user begins"

    app.files(**{f"{name}__txt": manual(name).encode() for name in MODULES})
    app.settled()
    found = app.search("pick numbers that nobody can guess, for passwords")
    assert found[0] == "secrets.txt"
    assert app.search("running out of order: start a job after some delay")[0] == "sched.txt"

    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    passage = page.locator(".reader mark.passage").first
    passage.wait_for()
    assert passage.evaluate(
        "m => { const b = m.closest('.body').getBoundingClientRect(), r = m.getBoundingClientRect();"
        " return r.top >= b.top - 1 && r.top < b.bottom; }"
    ), "the passage is scrolled into view"
    assert not app.asked(PYTHON), "search alone never loads Python"

    before = app.search("the office dragon is leaking")
    wanted = before[-1]
    after = app.mark(wanted)
    assert after.index(wanted) < before.index(wanted)
    page.locator(".changed svg.figure").wait_for()
    assert app.asked(PYTHON)

    app.reload().settled()
    found = app.search("the office dragon is leaking")
    assert len(found) >= 4 and found == after[: len(found)], "what was learned is there after a reload"
    assert not app.asked(PYTHON), "and it is applied without Python"
    assert not app.asked(WEIGHTS), "the model comes from the cache"

    page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    page.context.set_offline(True)
    app.reload().settled()
    assert app.search("the office dragon is leaking") == found
    page.locator(".status").filter(has_text="offline").wait_for()


def test_sample_notes_answer_questions_that_use_other_words(app):
    app.page.get_by_role("button", name="Try it with sample notes").click()
    app.settled()
    answers = {
        "why is my flat freezing": "Boiler.md",
        "how do I study so that it sticks": "Talk - how memory fades.md",
        "something for a child who loves astronomy": "Presents.md",
        "what to do about a noisy brake": "Bike.txt",
    }
    assert {query: app.search(query)[0] for query in answers} == answers


def test_typing_fast_shows_only_the_last_answer(app):
    app.page.get_by_role("button", name="Try it with sample notes").click()
    app.settled()
    app.page.locator("#query").press_sequentially("bread that is too dense", delay=15)
    app.page.locator("#summary").filter(has_text="“bread that is too dense”").wait_for()
    assert app.names()[0] == "Sourdough.md"
    assert app.page.locator("#summary").inner_text().startswith(f"{len(app.names())} document")


def test_everything_can_be_reached_by_keyboard(app):
    page = app.page
    page.get_by_role("button", name="Try it with sample notes").click()
    app.settled()
    page.locator("body").press("/")
    assert page.evaluate("document.activeElement.id") == "query"
    page.keyboard.type("parents evening")
    page.locator("#summary").filter(has_text="“parents evening”").wait_for()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    second = page.locator(".card.selected .name").inner_text()
    assert second == app.names()[1]
    page.keyboard.press("Enter")
    page.locator(".reader h2", has_text=second).wait_for()
    page.keyboard.press("Escape")
    page.locator(".reader").wait_for(state="detached")
    page.keyboard.press("n")
    page.locator(".thumb.bad[aria-pressed=true]").wait_for(timeout=SLOW)
    page.keyboard.press("u")
    page.locator(".thumb.bad[aria-pressed=true]").wait_for(state="detached", timeout=SLOW)


def test_an_address_of_another_machine_says_why_it_cannot_run(dist, persistent_context):
    context = persistent_context(args=["--host-resolver-rules=MAP notes.example 127.0.0.1"])
    page = context.new_page()
    with hosted(dist, host="notes.example") as address:
        page.goto(address)
        page.get_by_role("heading", name="This address cannot run EdgeNet").wait_for()
        text = page.locator("main").inner_text()
    assert "notes.example" in text and "https://" in text and "http://localhost:" in text and "ssh -L" in text


def test_a_plain_static_host_in_a_sub_folder_becomes_isolated_after_one_reload(page, dist, tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "notes").symlink_to(dist)
    with hosted(tmp_path, isolated=False) as address:
        page.goto(f"{address}deep/notes/")
        page.locator(".status .item", has_text=re.compile("^isolated$")).wait_for(timeout=SLOW)


@pytest.mark.parametrize(("width", "height"), [(360, 740), (768, 1024), (1280, 800)])
def test_no_tab_is_wider_than_the_window(chromium, site, width, height):
    context = chromium.new_context(viewport={"width": width, "height": height})
    try:
        app = App(context.new_page(), site())
        app.page.get_by_role("button", name="Try it with sample notes").click()
        app.settled().search("tyres")
        for tab in ("search", "library", "teaching", "complete", "chat", "personalise", "models"):
            app.go(tab)
            app.page.locator(f"#{tab}").wait_for()
            assert app.page.evaluate("document.documentElement.scrollWidth") <= width, tab
    finally:
        context.close()


def test_nothing_jumps_while_the_model_loads_and_results_arrive(app):
    """Layout shifts that no key or click explains, as the browser itself counts them (0.1 is called good)."""
    page = app.page
    page.evaluate("""() => { window.shift = 0; new PerformanceObserver((list) => list.getEntries().forEach((e) => {
        if (!e.hadRecentInput) window.shift += e.value; })).observe({ type: "layout-shift", buffered: true }); }""")
    page.get_by_role("button", name="Try it with sample notes").click()
    app.settled()
    app.search("passport")
    assert page.evaluate("window.shift") < 0.1


def test_colours_follow_the_system_and_the_button(chromium, site):
    context = chromium.new_context(color_scheme="dark")
    try:
        app = App(context.new_page(), site())
        colour = "getComputedStyle(document.body).backgroundColor"
        dark = app.page.evaluate(colour)
        app.page.locator("button.theme").click()
        assert app.page.evaluate(colour) != dark
        light = app.page.evaluate(colour)
        app.reload()
        assert app.page.evaluate(colour) == light, "the choice is remembered"
    finally:
        context.close()


def test_a_tab_that_is_pressed_again_keeps_its_heading_and_the_navigation_in_sight(page, site):
    page.set_viewport_size({"width": 360, "height": 740})
    app = App(page, site()).go("library").go("library")
    page.wait_for_url("**#library")
    assert page.evaluate("scrollY") == 0
    page.mouse.wheel(0, 400)
    eventually(page, lambda: page.evaluate("scrollY > 0"))
    app.go("library")
    eventually(page, lambda: page.evaluate("scrollY === 0"))


def test_the_models_tab_shows_signature_and_source_verifies_and_clears(app):
    page = app.page
    page.get_by_role("button", name="Try it with sample notes").click()
    app.settled().go("models")
    card = page.locator(".model[data-id=minilm-l6-v2-q8]")
    facts = card.locator("dl")
    facts.get_by_text("on this device, works offline").wait_for()
    assert "embedding, Q8_0" in facts.inner_text(), "of the version that is used, which is the newest"
    assert "valid, by a key this site trusts" in facts.inner_text()
    trusted = page.evaluate("fetch('trust.json').then((r) => r.json()).then((t) => t.keys[0].keyId)")
    assert facts.locator("code").inner_text().replace(" ", "") == trusted
    card.get_by_role("button", name="Verify").click()
    card.get_by_text("all as signed").wait_for(timeout=SLOW)
    card.get_by_role("button", name="Clear").click()
    page.locator("dialog").get_by_role("button", name="Clear").click()
    facts.get_by_text("not downloaded").wait_for()


def test_a_failed_download_says_what_to_do_and_can_be_tried_again(page, site):
    app = App(page, site())
    page.context.route(WEIGHTS, lambda route: route.fulfill(status=503))
    page.get_by_role("button", name="Try it with sample notes").click()
    toast = page.locator(".toast.bad").first
    toast.wait_for(timeout=SLOW)
    assert "The model could not be downloaded" in toast.inner_text()
    assert page.locator(".toast.bad").count() == 1, "said once"
    assert "model.gguf" in toast.locator("pre").text_content(), "the details name the file"
    page.context.unroute(WEIGHTS)
    toast.get_by_role("button", name="Try again").click()
    app.settled()
    assert app.search("noisy brake")[0] == "Bike.txt"


def test_the_first_download_can_be_stopped_and_taken_up_again(page, site):
    app = App(page, site())
    page.context.route(WEIGHTS, lambda route: None)  # a network that stands still
    page.get_by_role("button", name="Try it with sample notes").click()
    page.get_by_role("button", name="Stop: Getting the model ready").click(timeout=SLOW)
    toast = app.toast("Loading was stopped")
    toast.wait_for()
    assert page.locator(".toast.bad").count() == 0, "a stop that was asked for is no error"
    page.context.unroute(WEIGHTS)
    toast.get_by_role("button", name="Go on").click()
    app.settled()
    assert app.search("noisy brake")[0] == "Bike.txt"


@pytest.fixture
def changing(dist, tmp_path):
    """A copy of the site, large folders linked, and a function that publishes another build of it."""
    for path in dist.iterdir():
        if path.name in ("models", "vendor", "kernels", "wheels"):
            (tmp_path / path.name).symlink_to(path)
        elif path.is_dir():
            shutil.copytree(path, tmp_path / path.name)
        else:
            shutil.copyfile(path, tmp_path / path.name)

    def publish():
        build = json.loads((tmp_path / "build.json").read_text(encoding="utf-8"))
        css = tmp_path / "app.css"
        css.write_text(css.read_text(encoding="utf-8") + "\n/* a new build */\n", encoding="utf-8")
        old, build["build"] = build["build"], "f" * 16
        build["files"]["app.css"] = hashlib.sha256(css.read_bytes()).hexdigest()
        (tmp_path / "build.json").write_text(json.dumps(build), encoding="utf-8")
        worker = tmp_path / "service-worker.js"
        worker.write_bytes(worker.read_bytes().replace(old.encode(), b"f" * 16))

    return tmp_path, publish


def test_a_new_version_is_offered_and_reloading_loses_nothing(page, site, changing):
    folder, publish = changing
    app = App(page, site(folder))
    page.get_by_role("button", name="Try it with sample notes").click()
    app.settled()
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    app.search("noisy brake")
    publish()
    page.evaluate("navigator.serviceWorker.ready.then((r) => r.update()).then(() => true)")
    bar = page.locator(".update", has_text="A new version of EdgeNet is ready")
    bar.wait_for(timeout=SLOW)
    with page.expect_navigation():
        bar.get_by_role("button", name="Reload").click()
    page.locator("#summary").filter(has_text="“noisy brake”").wait_for(timeout=SLOW)
    assert app.names()[0] == "Bike.txt", "the same words stand in the box and find the same"
    assert "a new build" in page.evaluate("fetch('app.css').then((r) => r.text())")
