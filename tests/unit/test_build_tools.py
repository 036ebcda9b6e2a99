"""The build's own parts: downloads, ranges, steps, lock files. CPython only."""

import hashlib
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tools import download, native, step
from tools.paths import LOCK, ROOT
from tools.serve import parse_range
from tools.test import told

DATA = bytes(range(256)) * 4096
SHA = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def web():
    """A server of DATA that honours Range and records what was asked; `cut` bytes are sent when it is set."""

    class Handler(BaseHTTPRequestHandler):
        asked, cut = [], None

        def do_GET(self):  # noqa: N802  (http.server's own name)
            Handler.asked.append(self.headers.get("Range"))
            start = int(self.headers["Range"][6:-1]) if self.headers.get("Range") else 0
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(DATA) - start))
            self.end_headers()
            self.wfile.write(DATA[start : Handler.cut])

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield Handler, f"http://127.0.0.1:{server.server_port}/data.bin"
    server.shutdown()


def test_a_download_appears_whole_or_not_at_all(web, tmp_path):
    handler, url = web
    file = download.File("data.bin", url, SHA)
    handler.cut = 1000
    with pytest.raises(OSError):
        download.fetch(file, tmp_path)
    assert not (tmp_path / "data.bin").exists()


def test_a_cut_download_goes_on_where_it_stopped(web, tmp_path):
    handler, url = web
    (tmp_path / "data.bin.part").write_bytes(DATA[:5000])
    download.fetch(download.File("data.bin", url, SHA), tmp_path)
    assert (tmp_path / "data.bin").read_bytes() == DATA
    assert handler.asked[-1] == "bytes=5000-"


def test_a_download_with_another_hash_is_refused(web, tmp_path):
    with pytest.raises(OSError, match="SHA-256"):
        download.fetch(download.File("data.bin", web[1], "0" * 64), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "header, size, expected",
    [
        ("bytes=0-9", 100, (0, 9)),  # both ends
        ("bytes=90-", 100, (90, 99)),  # open end
        ("bytes=-10", 100, (90, 99)),  # suffix
        ("bytes=-1000", 100, (0, 99)),  # suffix longer than the file
        ("bytes=5-1000", 100, (5, 99)),  # end past the file
        ("bytes=0-1,5-6", 100, None),  # several ranges: the whole file may be sent (RFC 9110, 14.2)
        ("items=0-1", 100, None),  # another unit
        (None, 100, None),
    ],
)
def test_byte_ranges(header, size, expected):
    assert parse_range(header, size) == expected


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=7-3"])
def test_ranges_that_cannot_be_met(header):
    with pytest.raises(ValueError):
        parse_range(header, 100)


def test_a_step_runs_again_only_when_an_input_changed(tmp_path, monkeypatch):
    monkeypatch.setattr(step, "ROOT", tmp_path)
    monkeypatch.setattr(step, "WORK", tmp_path / "work")
    source, target, runs = tmp_path / "in.txt", tmp_path / "out.txt", []
    source.write_text("one")

    def run():
        runs.append(1)
        target.write_text(source.read_text())

    made = step.Step("copy", run, ["in.txt"], [target])
    assert [made.make(), made.make()] == [True, False]
    source.write_text("two")
    assert made.make() and target.read_text() == "two"
    target.unlink()
    assert made.make() and len(runs) == 3


@pytest.mark.parametrize("path", sorted(LOCK.glob("*.txt")) + [ROOT / "package-lock.json"], ids=lambda p: p.name)
def test_lock_files_carry_hashes_and_no_addresses(path):
    text = path.read_text()
    assert not re.search(r"https?://|file:", re.sub(r'"(url|funding|homepage)": ".*?"', "", text))
    rows = text.count('"version":') - 1 if path.suffix == ".json" else len(re.findall(r"^[a-z0-9].*==", text, re.M))
    hashes = text.count('"integrity":') + len(re.findall(r"^ +--hash=sha256:", text, re.M))
    assert rows and hashes >= rows - 1  # the project's own entry in package-lock.json has none


# --- tests beside PyTorch
def test_every_test_that_pytorch_or_peft_is_needed_for_is_run_with_them():
    asks = re.compile(r'(importorskip\(|for package in \().*"(torch|peft|transformers\b)')
    found = {
        p.relative_to(ROOT).as_posix() for p in ROOT.glob("tests/*/test_*.py") if asks.search(p.read_text("utf-8"))
    }
    assert found - {"tests/unit/test_build_tools.py"} == {name.partition("::")[0] for name in native.FILES}


def test_a_python_that_cannot_run_them_is_said_not_passed_over(monkeypatch, tmp_path):
    monkeypatch.setattr(native, "NEEDED", ("json", "no_such_package"))
    monkeypatch.setenv("EDGENET_TORCH", sys.executable)
    assert told(native.run()) == f"SKIPPED: {sys.executable} has no no_such_package."
    monkeypatch.setenv("EDGENET_TORCH", str(tmp_path / "python"))
    assert native.run().endswith("does not run: No such file or directory.")


@pytest.mark.parametrize(("code", "said"), [(0, "passed"), (1, "FAILED (1)"), ("no network", "SKIPPED: no network")])
def test_the_summary_tells_what_came_of_each_kind(code, said):
    assert told(code) == said
