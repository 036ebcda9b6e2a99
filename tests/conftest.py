"""What every kind of test shares: the `--long` option, and how many examples a fuzz test draws."""

import contextlib

import pytest

with contextlib.suppress(ImportError):  # Pyodide runs the same tests without it
    from hypothesis import settings

    settings.register_profile("short", max_examples=300, deadline=None)
    settings.register_profile("long", max_examples=20_000, deadline=None)


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="also the counted fuzzing and kill loops")


def pytest_configure(config):
    with contextlib.suppress(NameError):
        settings.load_profile("long" if config.getoption("--long") else "short")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--long"):
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip(reason="runs with --long"))
