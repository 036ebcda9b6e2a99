"""Waiting in browser tests: for states that last, with a limit that no machine reaches."""

import time

SLOW = 90_000  # ms: the first model load and the first Python boot on a busy machine


def eventually(page, look, met=bool):
    """The first answer of `look` that is `met`; between two looks the page's own events are heard."""
    end = time.monotonic() + SLOW / 1000
    while not met(found := look()):
        assert time.monotonic() < end, f"never came; the last look found {found}"
        page.wait_for_timeout(10)
    return found
