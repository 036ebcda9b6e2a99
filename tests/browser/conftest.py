"""Chromium, the built site, and a small site with a fake model. A missing browser is a failure, never a skip."""

import contextlib
import os
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from tests.browser.fakemodel import FakeSite
from tests.browser.faultserver import FaultServer, running
from tests.browser.firefox import Firefox, firefox_path
from tests.browser.lmworker import decoder, encoder, exact, lm_folder, lm_site, lm_worker  # noqa: F401 fixtures
from tests.browser.waiting import SLOW
from tools.node import esbuild
from tools.paths import DIST, ROOT
from tools.serve import server as static_server
from tools.steps.site import write_build

HERE = Path(__file__).resolve().parent
NAMES = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome", "microsoft-edge"]
PLACES = ["/Applications/Google Chrome.app/Contents/MacOS/Google Chrome", "/snap/bin/chromium"]
# Own --disable-features replaces Playwright's list, which takes storage away from cross-site frames.
ARGS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-sync",
    "--disable-component-update",
    "--disable-features=Translate",
]
BUNDLES = {
    "web/loader/worker.js": "workers/loader.js",
    "tests/browser/pages/harness.js": "harness.js",
    "tests/browser/pages/app.js": "app.js",
}


def chromium_path():
    """The browser's executable; a clear failure if there is none."""
    found = [shutil.which(name) for name in NAMES] + [place for place in PLACES if Path(place).exists()]
    path = next((p for p in found if p), None)
    if not path:
        pytest.fail("No Chromium found. Install one (Debian: apt-get install chromium) and run again.", pytrace=False)
    return path


def launch_args():
    """Flags for every launch. The sandbox cannot run as root."""
    return ARGS + (["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else [])


@pytest.fixture(scope="session")
def playwright():
    with sync_playwright() as found:
        yield found


@pytest.fixture(scope="session")
def chromium(playwright):
    """One browser for all tests of the session; each test takes its own context."""
    browser = playwright.chromium.launch(executable_path=chromium_path(), args=launch_args())
    yield browser
    browser.close()


@pytest.fixture
def context(chromium):
    context = chromium.new_context()
    context.set_default_timeout(SLOW)
    yield context
    context.close()


@pytest.fixture
def page(context):
    """A fresh page in a context of its own. Errors that nobody caught fail the test."""
    page = context.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    assert not errors, errors


@pytest.fixture
def firefox(tmp_path):
    """A Firefox with a profile of its own. Errors that nobody caught fail the test."""
    executable = firefox_path()
    if not executable:
        pytest.fail("No Firefox found. Install one (Debian: apt-get install firefox-esr) and run again.", pytrace=False)
    browser = Firefox(executable, tmp_path / "profile")
    yield browser
    errors = browser.uncaught()
    browser.close()
    assert not errors, errors


@pytest.fixture
def persistent_context(playwright, tmp_path):
    """A function that opens a context with a profile on disk; calling it again reopens the same profile."""
    opened = []

    def launch(profile="profile", args=()):
        context = playwright.chromium.launch_persistent_context(
            tmp_path / profile, executable_path=chromium_path(), args=[*launch_args(), *args]
        )
        context.set_default_timeout(SLOW)
        opened.append(context)
        return context

    yield launch
    for context in opened:
        with contextlib.suppress(Exception):
            context.close()


@pytest.fixture
def killable(playwright, tmp_path):
    """A function that starts a Chromium with a profile on disk and answers (page, kill); kill is SIGKILL, at once."""
    processes = []

    def launch(profile="killable"):
        folder = tmp_path / profile
        (folder / "DevToolsActivePort").unlink(missing_ok=True)
        own = ["--headless", f"--user-data-dir={folder}", "--remote-debugging-port=0"]
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        args = [chromium_path(), *own, *launch_args(), "about:blank"]
        process = subprocess.Popen(args, start_new_session=True, **pipes)
        processes.append(process)
        address = next(line.split()[-1] for line in process.stderr if "DevTools listening on" in line)
        threading.Thread(target=process.stderr.read, daemon=True).start()
        browser = playwright.chromium.connect_over_cdp(address)
        browser.contexts[0].set_default_timeout(SLOW)
        return browser.contexts[0].new_page(), lambda: kill(process)

    yield launch
    for process in processes:
        kill(process)


def kill(process):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture(scope="session")
def dist():
    """The built site's folder."""
    if not (DIST / "build.json").exists():
        pytest.fail("dist/ is not built. Run: python build.py build", pytrace=False)
    return DIST


@pytest.fixture
def site(dist):
    """A function that serves `dist/` and answers its address; `isolated=False` is a plain static host."""
    servers = []

    def serve(folder=dist, isolated=True):
        server = static_server(folder, isolated=isolated)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return f"http://localhost:{server.server_address[1]}/"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="session")
def bundles(tmp_path_factory):
    """A folder with the loader worker and the pages that drive it, bundled from the working tree."""
    folder = tmp_path_factory.mktemp("bundles")
    for source, target in BUNDLES.items():
        esbuild(ROOT / source, "--bundle", "--format=esm", "--log-level=warning", f"--outfile={folder / target}")
    shutil.copyfile(HERE / "pages" / "harness.html", folder / "index.html")
    return folder


@pytest.fixture
def fake(bundles):
    """A FakeSite with one model, "fake", on a server of its own and a mirror on another origin."""
    with running(FaultServer(bundles)) as server, running(FaultServer(cors=True)) as mirror:
        yield FakeSite(server, mirror)


class SmallSite(FakeSite):
    """A site with a service worker, on a host that sends no isolation headers; `deploy` puts up another build."""

    def __init__(self, server, mirror, bundles):
        super().__init__(server, mirror)
        self.folder, self.bundles = server.folder, bundles
        self.deploy("one")

    def deploy(self, text, damage=None):
        """A build whose `version.txt` says `text`; `damage`: a file whose bytes are not what `build.json` says."""
        for name in ["app.js", "harness.js", "workers/loader.js"]:
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.bundles / name, self.folder / name)
        shutil.copyfile(HERE / "pages" / "app.html", self.folder / "index.html")
        (self.folder / "embed.html").write_text("<!doctype html><title>embed</title>")
        (self.folder / "version.txt").write_text(text)
        source = [ROOT / "service-worker.js", "--bundle", "--format=iife", "--log-level=warning"]
        esbuild(*source, f"--outfile={self.folder / 'service-worker.js'}")
        write_build(self.folder)
        if damage:
            (self.folder / damage).write_bytes((self.folder / damage).read_bytes() + b" ")


@pytest.fixture
def small(bundles, tmp_path):
    """A SmallSite of build "one"."""
    folder = tmp_path / "site"
    folder.mkdir()
    with running(FaultServer(folder, isolated=False)) as server, running(FaultServer(cors=True)) as mirror:
        yield SmallSite(server, mirror, bundles)


class Loader:
    """A page with a loader worker, as `pages/harness.js` offers it."""

    def __init__(self, page, url, **options):
        self.page = page
        page.goto(url)
        page.evaluate("(options) => harness.start(options)", options)

    def call(self, kind, **args):
        """{"result": …} or {"error": {code, message, details}}."""
        return self.page.evaluate("([kind, args]) => harness.call(kind, args)", [kind, args])

    def ok(self, kind, **args):
        answer = self.call(kind, **args)
        assert "error" not in answer, answer
        return answer.get("result")

    def fails(self, kind, **args):
        """The error of a call that must fail."""
        answer = self.call(kind, **args)
        assert "error" in answer, answer
        return answer["error"]

    def begin(self, kind, **args):
        self.page.evaluate("([kind, args]) => harness.begin(kind, args)", [kind, args])

    def finished(self):
        return self.page.evaluate("harness.finished()")

    def do(self, name, *args):
        return self.page.evaluate("([name, args]) => harness[name](...args)", [name, list(args)])

    def events(self, status=None):
        return [e for e in self.page.evaluate("harness.events") if status in (None, e["status"])]


@pytest.fixture
def loader(page, fake):
    """A function that opens a Loader on the fake site; by default in the test's own page."""
    return lambda in_page=None, url=None, **options: Loader(in_page or page, (url or fake.server.url) + "/", **options)
