"""The CLI as a program: help, exit statuses, one JSON document, streams, and that it starts without heavy packages. CPython only."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from edgenet.cli.app import app
from edgenet.cli.shell import Result, Shell, guard
from edgenet.cli.text import counted, megabytes, table
from edgenet.errors import BY_CODE, EXIT_STATUS, ModelNotFound
from tests.unit.cli_site import Cli, publish

ROOT = Path(__file__).parents[2]
HEAVY = ("numpy", "httpx", "onnxruntime", "cryptography", "tokenizers", "wasmtime", "yaml", "rich")


def commands():
    """Every command as its words, from the tree itself: a new one is tested without being named here."""

    def walk(group, words):
        for row in group.registered_commands:
            yield (*words, row.name)
        for row in group.registered_groups:
            yield from walk(row.typer_instance, (*words, row.name))

    return sorted(walk(app, ()))


def run(*args, home=None, **more):
    env = {**os.environ, "PYTHONPATH": str(ROOT / "pysrc"), "HOME": str(home or "/nonexistent")}
    return subprocess.run(
        [sys.executable, "-m", "edgenet.cli", *args], capture_output=True, text=True, env=env, timeout=60, **more
    )


@pytest.fixture
def cli(tmp_path):
    return Cli(tmp_path / "home")


def test_the_commands_are_those_of_the_documentation():
    words = {" ".join(row) for row in commands()}
    assert words == {
        "list",
        "info",
        "pull",
        "verify",
        "publish",
        "sign",
        "compile",
        "run",
        "bench",
        "train",
        "eval",
        "embed",
        "search",
        "adapters list",
        "adapters info",
        "adapters import",
        "adapters export",
        "adapters rename",
        "adapters remove",
        "adapters describe",
        "adapters merge",
        "kernels list",
        "kernels verify",
        "kernels run",
        "kernels pack",
        "keys generate",
        "keys list",
        "keys show",
        "keys trust",
        "keys revoke",
        "cache info",
        "cache clear",
        "cache prune",
        "config show",
        "config get",
        "config set",
    }


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_has_help_with_an_example_of_itself_and_json(cli, words):
    ran = cli(*words, "--help")
    assert ran.code == 0 and "--json" in ran.out
    examples = ran.out.split("Examples:")[1]
    assert re.search(rf"edge-net-models (--site \S+ )?{' '.join(words)}", examples)


def test_help_and_version_load_nothing_heavy():
    code = (
        f"import sys\nfrom edgenet.cli import main\nsys.argv = ['edge-net-models', *sys.argv[1:]]\n"
        f"try:\n    main()\nexcept SystemExit:\n    pass\nprint([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    )
    for args in (["--help"], ["--version"], ["search", "--help"], ["pull", "--help"]):
        env = {**os.environ, "PYTHONPATH": str(ROOT / "pysrc")}
        done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, env=env, timeout=60)
        assert done.stderr.strip() == "[]" and done.stdout


def test_what_a_file_says_cannot_steer_the_terminal(capsys):
    shell, text = Shell(), "name\x1b]0;title\x07\x9b2J\r\x7f\n\tline"
    shell.json = False
    shell.show(Result({}, text))
    shell.say(text)
    shell.fail(ModelNotFound(text))
    told = capsys.readouterr()
    assert told.out == "name\\x1b]0;title\\x07\\x9b2J\\x0d\\x7f\n\tline\n"
    assert told.err == told.out + f"error: {told.out[:-1]} [model_not_found]\n"


@pytest.mark.parametrize("words", sorted({row[:-1] for row in commands()}), ids=lambda row: " ".join(row) or "top")
def test_what_a_command_is_for_fits_its_line_in_the_list_of_commands(cli, words):
    listed = cli(*words, "--help").out.split("Commands:")[1]
    assert not re.findall(r".*\.\.\.$", listed, re.M)


@pytest.mark.parametrize("option", ["-q", "--quiet", "--site=x", "--config=x"])
def test_an_option_of_the_program_after_the_command_is_told_where_it_goes(cli, option):
    ran = cli("list", option)
    name = option.split("=")[0]
    assert ran.code == 2 and f"{name} goes before the command: edge-net-models {name}" in ran.err


MISUSES = [
    ("no command", [], 2),
    ("unknown command", ["pul"], 2),
    ("unknown option", ["list", "--colour"], 2),
    ("missing argument", ["pull"], 2),
    ("no site", ["list"], 8),
    ("site that is no site", ["--site", "nowhere", "list"], 8),
    ("unknown config key", ["config", "get", "x"], 8),
    ("not cached", ["verify", "tiny"], 3),
    ("no key", ["keys", "show"], 3),
    ("no manifest", ["verify", "./nowhere"], 8),
]


@pytest.mark.parametrize(("reason", "args", "status"), MISUSES, ids=[row[0] for row in MISUSES])
def test_misuse_ends_with_its_status_and_says_what_to_do_on_stderr(cli, reason, args, status):
    ran = cli(*args)
    assert ran.code == status and (ran.err or ran.out)
    if status != 2:
        assert ran.out == "" and ran.err.startswith("error: ") and len(ran.err.splitlines()) == 1
        again = cli(*args, "--json")
        assert again.data["error"]["message"] in again.err


@pytest.mark.parametrize("code", sorted(BY_CODE))
def test_every_error_leaves_with_its_own_status(code, capsys):
    def fail():
        raise BY_CODE[code]("what was asked, found, next")

    with pytest.raises(typer.Exit) as caught:
        guard(Shell(), fail)
    assert caught.value.exit_code == BY_CODE[code].exit_status in EXIT_STATUS
    assert f"[{code}]" in capsys.readouterr().err


def test_ctrl_c_is_130_and_says_that_nothing_is_lost(capsys):
    def stop():
        raise KeyboardInterrupt

    with pytest.raises(typer.Exit) as caught:
        guard(Shell(), stop)
    assert caught.value.exit_code == 130 and "run the same command again" in capsys.readouterr().err


def test_a_result_with_an_error_prints_both(capsys):
    shell = Shell()
    shell.json = True
    with pytest.raises(typer.Exit):
        guard(shell, lambda: Result({"ok": False}, "", BY_CODE["hash_mismatch"]("bad")))
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "hash_mismatch"


def test_results_go_to_stdout_and_the_rest_to_stderr(tmp_path):
    site = tmp_path / "site"
    publish(Cli(tmp_path / "publisher"), site)
    done = run(
        "--config", str(tmp_path / "home/models.yaml"), "--site", str(site), "pull", "tiny", "--json", home=tmp_path
    )
    assert done.returncode == 0 and json.loads(done.stdout)["id"] == "tiny"
    assert (
        "First use" in done.stderr and "\x1b" not in done.stderr + done.stdout
    )  # no colours, no cursor movements into a pipe
    quiet = run("--quiet", "--site", str(site), "pull", "tiny", home=tmp_path / "other")
    assert quiet.returncode == 0 and quiet.stderr == ""


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals are POSIX")
@pytest.mark.parametrize(("extra", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)], ids=["plain", "NO_COLOR"])
def test_a_terminal_gets_a_progress_bar(tmp_path, extra, coloured):
    import pty

    site = tmp_path / "site"
    publish(Cli(tmp_path / "publisher"), site)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "edgenet.cli", "--site", str(site), "pull", "tiny", "--json"]
    env = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    env |= {"PYTHONPATH": str(ROOT / "pysrc"), "HOME": str(tmp_path), "TERM": "xterm-256color", **extra}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=env) as running:
        os.close(theirs)
        shown = read_all(ours)
        assert json.loads(running.stdout.read())["id"] == "tiny"
    assert b"5.2/5.2 MB" in shown and (b"\x1b[3" in shown) == coloured


def read_all(terminal):
    """Everything written to a pseudo-terminal until its last writer leaves."""
    shown = b""
    while True:
        try:
            block = os.read(terminal, 1 << 16)
        except OSError:  # Linux says so instead of an empty read
            block = b""
        if not block:
            return shown
        shown += block


def test_the_default_home_is_in_the_users_folder(tmp_path):
    assert run("config", "set", "cdn.retries", "5", home=tmp_path).returncode == 0
    assert (tmp_path / ".edge-net" / "models.yaml").exists()
    assert run("cache", "info", "--json", home=tmp_path).stdout.count(str(tmp_path / ".edge-net/models"))


def test_a_reader_that_leaves_is_no_error_message(tmp_path):
    command = f"{sys.executable} -m edgenet.cli config show; echo $? >&2"
    env = {**os.environ, "PYTHONPATH": str(ROOT / "pysrc"), "HOME": str(tmp_path)}
    done = subprocess.Popen(["sh", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
    done.stdout.close()
    assert done.stderr.read().strip() == "141"
    done.wait(30)


def test_tables_align():
    rows = [{"a": "x", "n": 5, "b": True}, {"a": "long", "n": 12, "b": False}]
    assert table(rows, {"a": "A", "n": "N", "b": "B"}) == "A      N  B\nx      5  yes\nlong  12  no"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (23_492_156, "23.5 MB"), (10**10, "10.0 GB")],
)
def test_sizes_for_people(count, text):
    assert megabytes(count) == text


def test_counted():
    assert (counted(1, "file"), counted(5000, "file")) == ("1 file", "5,000 files")
