"""Downloads that say their total first, show progress, resume, and are checked by SHA-256. Standard library only."""

import hashlib
import json
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

BLOCK = 1 << 18


@dataclass(frozen=True)
class File:
    """One download: file name, address, SHA-256 (hex)."""

    name: str
    url: str
    sha256: str


def wheel_urls(python, specs):
    """The files pip would install for `specs` (name==version; marker) here, as its index states them now."""
    with tempfile.TemporaryDirectory() as folder:
        listing, report = Path(folder, "specs.txt"), Path(folder, "report.json")
        listing.write_text("\n".join(specs))
        done = subprocess.run(
            [
                str(python),
                "-m",
                "pip",
                "install",
                "-q",
                "--dry-run",
                "--ignore-installed",
                "--no-deps",
                "--only-binary=:all:",
                "--ignore-requires-python",
                "--disable-pip-version-check",
                "-r",
                str(listing),
                "--report",
                str(report),
            ],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            sys.exit(f"pip could not find the locked packages; is the network there?\n{done.stderr.strip()[-2000:]}")
        items = [i["download_info"] for i in json.loads(report.read_text())["install"]]
    return [
        File(i["url"].split("#")[0].rsplit("/", 1)[1], i["url"], i["archive_info"]["hashes"]["sha256"]) for i in items
    ]


def is_whole(path, sha256):
    """Whether `path` exists with that SHA-256."""
    if not path.exists():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256


def size_of(file):
    """Bytes of a download by HEAD; 0 when the server does not say."""
    if file.url.startswith("file:"):
        return Path(urllib.request.url2pathname(file.url[7:].split("#")[0])).stat().st_size
    request = urllib.request.Request(file.url, method="HEAD")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return int(answer.headers.get("Content-Length") or 0)


def fetch(file, folder, report=lambda n: None):
    """Download into `folder`, going on where an earlier try stopped; the file appears only when its hash is right."""
    target, part = folder / file.name, folder / (file.name + ".part")
    done = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(file.url, headers={"Range": f"bytes={done}-"} if done else {})
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            resumed = done and answer.status == 206
            report(done if resumed else 0)
            with part.open("ab" if resumed else "wb") as out:
                while block := answer.read(BLOCK):
                    out.write(block)
                    report(len(block))
    except urllib.error.HTTPError as error:
        if error.code != 416:  # 416: the part was whole already
            raise
    if not is_whole(part, file.sha256):
        part.unlink()
        raise OSError(
            f"{file.name}: the bytes received do not have the SHA-256 of the lock file; run again to fetch them anew"
        )
    part.replace(target)
    return target


def fetch_all(files, folder, what):
    """Fetch what is missing, two at a time, with one progress line."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = missing(files, folder)
    if not wanted:
        return
    bar = Progress(what, total_size(wanted))
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda f: fetch(f, folder, bar.add), wanted))
    bar.close()


def missing(files, folder):
    """Those of `files` that are not in `folder` yet, whole."""
    return [f for f in files if not is_whole(folder / f.name, f.sha256)]


def total_size(files):
    """Bytes of all these downloads, as their servers say."""
    with ThreadPoolExecutor(4) as pool:
        return sum(pool.map(size_of, files))


class Progress:
    """A single progress line on a terminal; start and end lines elsewhere."""

    def __init__(self, what, total):
        self.what, self.total, self.done, self.live = what, total, 0, sys.stderr.isatty()
        print(f"{what}: downloading {total / 1e6:.1f} MB", file=sys.stderr, flush=True)

    def add(self, count):
        self.done += count
        if self.live:
            share = min(1, self.done / self.total) if self.total else 0
            print(f"\r  {share:4.0%} {self.done / 1e6:8.1f} MB", end="", file=sys.stderr, flush=True)

    def close(self):
        print(
            ("\r" if self.live else "") + f"  {self.what}: {self.done / 1e6:.1f} MB, done", file=sys.stderr, flush=True
        )
