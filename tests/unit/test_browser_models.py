"""A page's engine, from Python: what is asked of the model's worker, and what is known of it afterwards. CPython, with a played page."""

import asyncio
import importlib
import sys
from types import ModuleType, SimpleNamespace

import pytest

from tests.trust_vectors import run


def module(name, **what):
    made = ModuleType(name)
    vars(made).update(what)
    return made


@pytest.fixture
def browser_models(monkeypatch):
    """The module, in an interpreter whose page answers nothing by itself."""
    controller = SimpleNamespace(new=lambda: SimpleNamespace(signal=None, abort=lambda: None))
    ffi = module("pyodide.ffi", JsException=type("JsException", (Exception,), {}), to_js=lambda value, **_: value)
    page = module("js", AbortController=controller, Object=SimpleNamespace(fromEntries=dict))
    for made in (page, module("edgenet_js"), module("pyodide", ffi=ffi), ffi):
        monkeypatch.setitem(sys.modules, made.__name__, made)
    for name in ("browser", "browser_models"):
        monkeypatch.delitem(sys.modules, f"edgenet.host.{name}", raising=False)
    yield importlib.import_module("edgenet.host.browser_models")
    for name in ("browser", "browser_models"):
        sys.modules.pop(f"edgenet.host.{name}", None)


class Worker:
    """A session of the SDK whose worker takes everything."""

    def __init__(self):
        self.asked = []

    async def askWorker(self, kind, args, options):  # noqa: N802 - the SDK's name
        self.asked.append((kind, args))


def test_a_program_that_is_dropped_twice_at_once_is_dropped_as_in_the_other_engines(browser_models):
    worker = Worker()
    engine = browser_models.SessionEngine(worker, None)
    engine._programs |= {"a": None, "b": None}
    run(engine.drop(iter(["a", "a"])))
    assert worker.asked == [("lm.drop", {"names": ["a"]})] and list(engine._programs) == [None, "b"]


def test_a_model_that_opens_in_the_moment_of_a_stop_is_given_back(browser_models):
    disposed = []

    async def dispose():
        disposed.append(True)

    async def stopped():
        opening = asyncio.get_running_loop().create_future()
        sys.modules["edgenet_js"].InferenceSession = SimpleNamespace(create=lambda *_: opening)
        task = asyncio.ensure_future(browser_models.open_here("m", 0))
        await asyncio.sleep(0)
        opening.set_result(SimpleNamespace(dispose=dispose))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})

    asyncio.run(stopped())
    assert disposed == [True]
