"""What every kind of test shares: the `--long` option."""

import pytest


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="also the counted fuzzing and kill loops")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--long"):
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip(reason="runs with --long"))
