"""The worker of a language model in a page, from the working tree: what its tests drive, and the site that it is loaded from."""

import shutil
from pathlib import Path

import pytest

from tests.browser import lmmodel
from tests.browser.fakemodel import FakeSite
from tests.browser.faultserver import FaultServer, running
from tests.kernel_pack import trust_document, write_pack
from tools.node import esbuild
from tools.paths import ROOT

HERE = Path(__file__).resolve().parent
BUNDLES = {
    "web/loader/worker.js": "workers/loader.js",
    "web/engine/lm/worker.js": "workers/lm.js",
    "web/engine/lm/thread-worker.js": "workers/lm-thread.js",
    "tests/browser/pages/lm.js": "lm.js",
}
GREEDY = {"temperature": 0, "maxTokens": 24}


@pytest.fixture(scope="session")
def lm_folder(tmp_path_factory):
    """The worker and its page from the working tree, and a signed pack with every build of the engine."""
    folder = tmp_path_factory.mktemp("lm")
    for source, target in BUNDLES.items():
        esbuild(ROOT / source, "--bundle", "--format=esm", "--log-level=warning", f"--outfile={folder / target}")
    shutil.copyfile(HERE / "pages" / "lm.html", folder / "index.html")
    write_pack(folder / "kernels")
    return folder


@pytest.fixture(scope="session")
def decoder():
    return lmmodel.gguf("llama")


@pytest.fixture(scope="session")
def exact():
    """The same model, not quantised."""
    return lmmodel.gguf("llama", "f32")


@pytest.fixture(scope="session")
def encoder():
    return lmmodel.gguf("bert")


@pytest.fixture
def lm_site(lm_folder, decoder, encoder, exact):
    """A function: a site with the models; isolated or on a plain host."""
    open_now = []

    def serve(isolated=True):
        server, mirror = running(FaultServer(lm_folder, isolated=isolated)), running(FaultServer(cors=True))
        open_now.extend([server, mirror])
        site = FakeSite(server.__enter__(), mirror.__enter__())
        keys = [site.signer.entry(), *trust_document()["keys"]]
        site.put("trust.json", {"schemaVersion": 1, "keys": keys})
        for name, data in {"decoder": decoder, "encoder": encoder, "exact": exact}.items():
            made = lmmodel.files(data)
            site.add(name, files=made, type="text-generation")
            for filename, content in made.values():
                site.put(f"dropped/{name}/{filename}", content)
        return site

    yield serve
    for context in open_now:
        context.__exit__(None, None, None)


class Worker:
    """One language worker of a page."""

    def __init__(self, page, name="one"):
        self.page, self.name = page, name

    def js(self, function, *args):
        answer = self.page.evaluate(f"(args) => lm.{function}(...args)", list(args))
        assert "error" not in answer, answer
        return answer["result"]

    def load(self, **args):
        return self.js("load", self.name, args)

    def ask(self, kind, **args):
        return self.js("call", self.name, f"lm.{kind}", args)

    def fails(self, kind, **args):
        answer = self.page.evaluate("([n, k, a]) => lm.call(n, k, a)", [self.name, f"lm.{kind}", args])
        assert "result" not in answer, answer
        return answer["error"]

    def together(self, *requests):
        answers = self.page.evaluate("([n, l]) => lm.together(n, 'lm.generate', l)", [self.name, list(requests)])
        return [a["result"] for a in answers]

    def events(self, **wanted):
        return [e for e in self.page.evaluate("lm.events") if all(e.get(k) == v for k, v in wanted.items())]


@pytest.fixture
def lm_worker(page, lm_site):
    """A function: a page on the site, its model pulled, a worker with it loaded."""

    def start(model="decoder", isolated=True, **args):
        site = lm_site(isolated)
        page.goto(site.server.url + "/")
        worker = Worker(page)
        worker.js("pull", model)
        worker.site, worker.info = site, worker.load(id=model, version="1.0.0", **args)
        return worker

    return start
