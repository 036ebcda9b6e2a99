"""The playground in Chromium: scripts do what they do in CPython, errors have lines, Stop stops, and a second visit needs no network."""

import os
import re
import subprocess
import sys
import threading

import pytest
from playwright.sync_api import expect

from tests.browser.waiting import SLOW, eventually
from tools.paths import ROOT
from tools.serve import server as static_server

pytestmark = pytest.mark.browser
EXAMPLES = {
    path.stem: path.read_text(encoding="utf-8") for path in sorted((ROOT / "web/playground/examples").glob("*.py"))
}
DOCS = re.findall(r"```python\n(.*?)```", (ROOT / "docs/playground.md").read_text(encoding="utf-8"), re.S)
SCRIPTS = EXAMPLES | {f"docs {i}": code for i, code in enumerate(DOCS, 1)}
MODELS = ["python-completion-7m-q8", "minilm-l6-v2-q8"]
NUMBER = re.compile(r"-?\d+\.\d+")
GENERATE = "from edgenet import open_model\nm = await open_model('python-completion-7m-q8')\nprint(await m.generate('import o', max_tokens=3, temperature=0))"


class Play:
    """An open playground."""

    def __init__(self, page, url, hash=""):
        self.page, self.violations = page, []
        page.set_default_timeout(SLOW)
        page.on(
            "console",
            lambda message: "Content Security Policy" in message.text and self.violations.append(message.text),
        )
        page.goto(f"{url}playground.html{hash}")
        self.ready()

    def ready(self):
        self.page.wait_for_selector(".run:not([disabled])")

    def start(self, code):
        self.page.fill(".code", code)
        self.page.click(".run")

    def ended(self):
        """(how it ended, what it printed)."""
        self.page.wait_for_selector(".state:text-matches('^(Done|Stopped|It ended)')")
        return self.page.inner_text(".state"), "".join(self.page.locator(".log pre.text").all_inner_texts())

    def run(self, code):
        self.start(code)
        return self.ended()


@pytest.fixture(scope="module")
def shared_page(chromium, dist):
    """One open playground for scripts that leave nothing behind."""
    server = static_server(dist, isolated=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    context = chromium.new_context()
    play = Play(context.new_page(), f"http://localhost:{server.server_address[1]}/")
    yield play
    context.close()
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def cpython(dist, tmp_path_factory):
    """A function that runs a script by `python -m edgenet`, with the site's models in a cache of its own; what it printed."""
    home = tmp_path_factory.mktemp("home")
    setting = os.environ | {"HOME": str(home), "USERPROFILE": str(home), "PYTHONPATH": str(ROOT / "pysrc")}
    server = static_server(dist, isolated=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def python(*arguments):
        done = subprocess.run([sys.executable, *arguments], cwd=home, env=setting, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    for model in MODELS:
        python("-m", "edgenet.cli", "--site", f"http://localhost:{server.server_address[1]}", "pull", model)
    server.shutdown()
    server.server_close()

    def run(code):
        (home / "script.py").write_text(code, encoding="utf-8")
        return python("-m", "edgenet", "script.py")

    return run


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_prints_in_the_page_what_it_prints_in_cpython(shared_page, cpython, name):
    how, printed = shared_page.run(SCRIPTS[name])
    wanted = cpython(SCRIPTS[name])
    assert how == "Done", shared_page.page.inner_text(".log")
    assert NUMBER.sub("#", printed).strip() == NUMBER.sub("#", wanted).strip()
    numbers = [[float(n) for n in NUMBER.findall(text)] for text in (printed, wanted)]
    assert numbers[0] == pytest.approx(numbers[1], rel=0.02, abs=0.01)
    assert not shared_page.violations


def test_every_example_has_a_tab_and_every_tab_an_example(shared_page):
    tabs = shared_page.page.locator("[role=tab]").evaluate_all("tabs => tabs.map(tab => tab.dataset.id)")
    assert sorted(tabs) == sorted(EXAMPLES)


def test_a_training_draws_its_loss_live_in_one_chart_and_stop_ends_it(shared_page):
    shared_page.start(EXAMPLES["train"].replace("max_steps=40", "max_steps=100000"))
    drawn = "document.querySelector('.chart path[fill=none]')?.getAttribute('d').length"
    shared_page.page.wait_for_selector(".chart path[fill=none]")
    first = shared_page.page.evaluate(drawn)
    eventually(shared_page.page, lambda: shared_page.page.evaluate(drawn), lambda now: now > first)
    assert shared_page.page.locator(".chart").count() == 1
    shared_page.page.click(".stop")
    assert shared_page.ended()[0] == "Stopped"
    assert shared_page.run(GENERATE)[0] == "Done"


@pytest.mark.parametrize(
    ("code", "line", "says"),
    [
        ("x = 1\ny = x +", 2, "SyntaxError"),
        ("def f():\n    return nope\n\nf()", 2, "NameError"),
        ("from edgenet import open_model\n\nawait open_model('no-such-model')", 3, "[model_not_found]"),
        (
            "from edgenet import open_model\nm = await open_model('python-completion-7m-q8')\nawait m.generate('x', top_k=-1)",
            3,
            "[invalid_option]",
        ),
        ("from edgenet import open_model\nm = open_model('minilm-l6-v2-q8')\nm + 'x'", 3, "await"),
        ("import asyncio\nwhile True:\n    pass", None, "[script_held_page]"),
    ],
    ids=["syntax", "in a function", "from the SDK", "from Python", "no await", "never lets go"],
)
def test_an_error_is_shown_with_its_line_and_what_to_do(shared_page, code, line, says):
    how, _ = shared_page.run(code)
    assert how == "It ended with an error"
    assert says in shared_page.page.inner_text(".failure")
    if line:
        assert shared_page.page.inner_text(".gutter .wrong") == str(line)
        shared_page.page.click(f".failure button:text('Line {line}')")
        chosen = "(({ value, selectionStart, selectionEnd }) => value.slice(selectionStart, selectionEnd))(document.activeElement)"
        assert shared_page.page.evaluate(chosen) == code.split("\n")[line - 1]


def test_the_editor_is_used_by_keyboard_alone(shared_page):
    page = shared_page.page
    page.fill(".code", "")
    page.focus(".code")
    page.keyboard.type("for i in range(2):\nprint(i)")
    assert page.input_value(".code") == "for i in range(2):\n    print(i)"
    page.keyboard.press("Control+Enter")
    assert shared_page.ended() == ("Done", "0\n1\n")
    page.focus(".code")
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") != "code"


def test_printing_much_costs_the_page_little(shared_page):
    how, printed = shared_page.run("for i in range(20_000):\n    print(i)")
    assert how == "Done"
    assert printed.startswith("0\n1\n") and "\n19999\n" in printed


INDENTS = [
    ("the lines that are marked", "a\nb\n\nc", ["Control+a", "Tab"], "    a\n    b\n\n    c"),
    ("less of them", "    a\n  b\nc", ["Control+a", "Shift+Tab"], "a\nb\nc"),
    ("less where the cursor stands", "x\n    a", ["Control+End", "Shift+Tab"], "x\na"),
    ("at the cursor", "a", ["Control+End", "Tab"], "a    "),
    ("taken back", "a\nb", ["Control+a", "Tab", "Control+z"], "a\nb"),
]


@pytest.mark.parametrize(("code", "keys", "after"), [row[1:] for row in INDENTS], ids=[row[0] for row in INDENTS])
def test_tab_indents(shared_page, code, keys, after):
    shared_page.page.fill(".code", code)
    shared_page.page.focus(".code")
    for key in keys:
        shared_page.page.keyboard.press(key)
    assert shared_page.page.input_value(".code") == after


def test_code_is_there_after_a_reload_and_a_reset_can_be_taken_back(page, site):
    play = Play(page, site())
    page.fill(".code", "print('mine')")
    page.reload()
    play.ready()
    assert page.input_value(".code") == "print('mine')"
    page.click("button:text('Reset')")
    page.wait_for_selector(".state button:text('Undo')")
    assert "open_model" in page.input_value(".code")
    page.click(".state button:text('Undo')")
    page.wait_for_selector(".state:empty", state="attached")
    assert page.input_value(".code") == "print('mine')"


def test_an_error_stays_with_the_tab_whose_code_ran(shared_page):
    page = shared_page.page
    page.click("[data-id=search]")
    expect(page.locator(".code")).to_have_value(EXAMPLES["search"], timeout=SLOW)
    shared_page.start("import asyncio\nawait asyncio.sleep(0.2)\n1 / 0")
    page.click("[data-id=generate]")
    assert shared_page.ended()[0] == "It ended with an error"
    assert page.locator(".gutter .wrong").count() == 0
    page.click(".failure button")
    page.wait_for_selector("[data-id=search][aria-selected=true]")
    assert page.evaluate("getSelection().toString()") == "1 / 0"


def test_the_keyboard_goes_from_run_to_stop_and_back(shared_page):
    page = shared_page.page
    page.fill(".code", "import asyncio\nwhile True:\n    print('on')\n    await asyncio.sleep(0)")
    page.locator(".run").press("Enter")
    page.locator(".stop:focus").press("Enter")
    assert shared_page.ended()[0] == "Stopped"
    page.wait_for_selector(".run:focus")


def test_stop_counts_before_the_script_has_taken_its_first_step(shared_page):
    page = shared_page.page
    page.fill(".code", "import asyncio\nprint('begun')\nwhile True:\n    await asyncio.sleep(0)")
    page.evaluate("for (const name of ['run', 'stop']) document.querySelector(`.${name}`).click()")
    assert shared_page.ended() == ("Stopped", "")
    assert shared_page.run("print('again')") == ("Done", "again\n")


def test_a_links_code_is_shown_and_not_run(page, site):
    url = site()
    play = Play(page, url)
    page.fill(".code", "print('from a friend ä')")
    page.click("button:text('Share')")
    page.wait_for_url("**#code=*")
    hash = page.evaluate("location.hash")
    page.goto("about:blank")
    play = Play(page, url, hash)
    assert page.input_value(".code") == "print('from a friend ä')"
    assert (
        page.inner_text(".log") == "" and page.locator("[role=tab][aria-selected=true]").inner_text() == "From the link"
    )
    assert "Read it before you run it" in page.inner_text(".told")
    page.click(".run")
    assert play.ended() == ("Done", "from a friend ä\n")
    page.evaluate("location.hash = '#code=damaged'")
    page.wait_for_selector(".told:has-text('cut off')")


def test_below_a_folder_of_a_plain_host_and_then_with_the_host_gone(chromium, dist, tmp_path):
    (tmp_path / "a folder").mkdir()
    (tmp_path / "a folder" / "site").symlink_to(dist)
    server = static_server(tmp_path, isolated=False)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    context = chromium.new_context()
    page, asked = context.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    url = f"http://localhost:{server.server_address[1]}/a%20folder/site/"
    play = Play(page, url)
    how, first = play.run(GENERATE)
    assert how == "Done" and first.strip()
    server.shutdown()
    server.server_close()
    page.reload()
    play.ready()
    assert play.run(GENERATE) == ("Done", first)
    assert all(address.startswith((url, "blob:", "data:")) for address in asked)
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_of_it_without_scrolling_sideways(chromium, site, scheme):
    context = chromium.new_context(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    page = context.new_page()
    play = Play(page, site())
    play.run("from edgenet import plot\nprint('x' * 300)\nplot.lines({'a': [1, 2, 3]}).show()\n1 / 0")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert all(
        box["x"] >= 0 and box["x"] + box["width"] <= 360
        for box in (page.locator(s).bounding_box() for s in (".run", ".script", ".log", ".chart svg", ".failure"))
    )
    context.close()
