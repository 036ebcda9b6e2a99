"""`docs/cli.md` says what is: its commands run from top to bottom, its tables are those of the code. CPython only."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from edgenet.cli.commands.configure import _text
from edgenet.cli.options import OPTIONS
from edgenet.errors import EXIT_STATUS
from tests.unit import tiny_model
from tests.unit.cli_site import Cli, Server
from tests.unit.small_model_runs import opened

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.skipif(os.name != "posix", reason="the page's blocks are for sh")
def test_the_commands_of_the_page_run_as_they_stand(tmp_path):
    publisher = Cli(tmp_path / "publisher")
    publisher("keys", "generate")
    files = tiny_model.write(tmp_path / "files")
    publisher(
        "publish",
        str(files),
        "--name",
        "minilm-l6-v2-q8",
        "--version",
        "1.0.0",
        "--quantization",
        "INT8",
        "--output",
        str(tmp_path / "host"),
    )
    _hub(tmp_path / "host")
    (tmp_path / "bin").mkdir()
    (tmp_path / "work").mkdir()
    program = tmp_path / "bin" / "edge-net-models"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m edgenet.cli "$@"\n')
    program.chmod(0o755)
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "pysrc"),
        "HOME": str(tmp_path),
        "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}",
    }
    with Server(tmp_path / "host") as server:
        script = "set -eu\n" + "".join(BLOCKS).replace("http://localhost:8000", server.url.rstrip("/"))
        done = subprocess.run(
            ["sh", "-c", script], cwd=tmp_path / "work", env=env, capture_output=True, text=True, timeout=300
        )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "house.md:1" in done.stdout and "every byte is right" in done.stdout and "2GB" in done.stdout
    assert done.stderr.count("adapter: house, cosine") == 2


def _hub(folder):
    """What a hub serves of a repository with one model, and its listing, whose query is part of the served file's name."""
    raw = opened("qwen2", "q8_0").data
    listing = [{"type": "file", "path": "small-q8_0.gguf", "size": len(raw)}]
    places = {
        "maker/small-gguf/resolve/main/small-q8_0.gguf": raw,
        "api/models/maker/small-gguf/tree/main?recursive=true": json.dumps(listing).encode(),
    }
    for name, data in places.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def rows(heading):
    """Rows of the page's table with this first heading, as lists of cells."""
    lines = PAGE[PAGE.index(f"| {heading} |") :].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2 : lines.index("")]]


def test_the_options_of_the_page_are_those_of_the_program():
    want = [[f"`{o.name}`", f"`{_text(o.default)}`" if _text(o.default) else "", o.help] for o in OPTIONS]
    assert rows("option") == want


def test_the_statuses_of_the_page_are_those_of_the_program():
    assert dict(rows("status")) == {"0": "done", "2": "the command line itself is wrong"} | {
        str(k): v for k, v in EXIT_STATUS.items()
    }


def test_every_command_is_on_the_page_but_the_plain_ones():
    from tests.unit.test_cli import commands

    named = {
        " ".join(words)
        for words in commands()
        if re.search(rf"edge-net-models (--site \S+ )?{' '.join(words)}\b", PAGE)
    }
    assert {" ".join(words) for words in commands()} - named == set()
