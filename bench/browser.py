"""What benches in Chromium share: a folder served, a browser that does nothing else, its pages, and the memory they take."""

import os
import shutil
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path

import psutil

from tools.serve import server

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
TIMEOUT = 1_200_000  # ms: a page may have to load, or to measure, for many minutes


def browser_path() -> str:
    """Chromium's path (CHROMIUM overrides). Raises FileNotFoundError that says what to install."""
    found = os.environ.get("CHROMIUM") or next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if not found:
        raise FileNotFoundError("No Chromium was found. Install chromium, or set CHROMIUM to its path.")
    return found


@contextmanager
def served(folder):
    """The address of a server for a folder, isolated, on this machine only."""
    http = server(folder)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    try:
        yield f"http://localhost:{http.server_address[1]}/"
    finally:
        http.shutdown()
        http.server_close()


def launched(playwright):
    """A Chromium without a profile, headless."""
    return playwright.chromium.launch(executable_path=browser_path(), args=FLAGS)


def page_at(context, address):
    """A new page of a browser, or of one of its contexts, once its script has set `window.bench`."""
    page = context.new_page()
    page.set_default_timeout(TIMEOUT)
    page.goto(address)
    page.wait_for_function("window.bench")
    return page


@contextmanager
def profile(playwright):
    """A Chromium with a fresh profile on disk: nothing cached."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        context = playwright.chromium.launch_persistent_context(folder, executable_path=browser_path(), args=FLAGS)
        try:
            yield context
        finally:
            context.close()


def on_page(context, base, name, work):
    """What `work` answers on a fresh page of one side, which is closed then."""
    page = page_at(context, f"{base}{name}.html")
    try:
        return work(page)
    finally:
        page.close()


def resident(context):
    """The largest peak (VmHWM) among this Chromium's renderers, in bytes; the page's model is a Blob of its own beside it."""
    parents = {p.pid for p in psutil.process_iter() if "chromium" in p.name()}
    peaks = [0]
    for pid in parents:
        try:
            if b"--type=renderer" in Path(f"/proc/{pid}/cmdline").read_bytes():
                text = Path(f"/proc/{pid}/status").read_text()
                peaks.append(1024 * int(text.partition("VmHWM:")[2].split()[0]))
        except OSError:
            pass
    return max(peaks)
