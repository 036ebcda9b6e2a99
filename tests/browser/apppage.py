"""The app as a user meets it, for tests: open, add, search, mark. Only what can be seen or pressed."""

import re

from tests.browser.waiting import SLOW

PYTHON = re.compile(
    r"/vendor/pyodide/"
)  # not the small worker script and wheel, which the service worker keeps with the page
WEIGHTS = re.compile(r"/models/[^?]*\.(onnx|gguf)")
MESSAGES_STAY = """(() => {
  const real = window.setTimeout;
  window.setTimeout = (work, ms, ...more) => (ms === 8000 ? 0 : real(work, ms, ...more));
})()"""  # else one may go between two looks of a busy machine; those that are closed, or pushed out by others, go

KEPT = """(name) => new Promise((resolve) => {
  indexedDB.open('edgenet-chat-v1').onsuccess = ({ target: { result: database } }) => {
    database.transaction('settings').objectStore('settings').get(name).onsuccess = ({ target }) => {
      database.close();
      resolve(target.result ?? null);
    };
  };
})"""


class App:
    """`requests` holds the address of everything the page and its workers asked for."""

    def __init__(self, page, url):
        self.page, self.url, self.requests = page, url, []
        page.on("request", lambda request: self.requests.append(request.url))
        page.context.on("request", lambda request: self.requests.append(request.url))
        page.set_default_timeout(SLOW)
        page.add_init_script(MESSAGES_STAY)
        page.goto(url)
        page.locator("nav").wait_for(timeout=SLOW)

    def asked(self, pattern):
        return [url for url in self.requests if pattern.search(url)]

    def go(self, tab):
        self.page.locator(f"nav a[data-tab={tab}]").click()
        return self

    def settled(self):
        """All documents are read: the work card came and went."""
        self.page.locator(".status .item.ready").first.wait_for(timeout=SLOW)
        self.page.locator(".task").first.wait_for(state="detached", timeout=SLOW)
        return self

    def paste(self, title, text):
        self.go("library")
        self.page.locator(".paste input").fill(title)
        self.page.locator(".paste textarea").fill(text)
        self.page.locator(".paste button").click()

    def files(self, **contents):
        """Chooses files; names are given with `__` for the dot."""
        self.go("library")
        payload = [{"name": name.replace("__", "."), "mimeType": "", "buffer": data} for name, data in contents.items()]
        self.page.locator("input[data-pick=files]").set_input_files(payload)

    def search(self, query):
        """Names of the documents found, best first, once the answer for this very query is shown."""
        self.go("search")
        self.page.locator("#query").fill(query)
        self.page.locator("#summary").filter(has_text=f"“{query}”").wait_for(timeout=SLOW)
        return self.names()

    def names(self):
        return self.page.locator(".card .name").all_inner_texts()

    def documents(self):
        self.go("library")
        return self.page.locator(".document .name").all_inner_texts()

    def mark(self, name, relevant=True):
        """Presses the button of one result and waits until it was learned (or taken back)."""
        card = self.page.locator(".card").filter(
            has=self.page.locator(".name", has_text=re.compile(f"^{re.escape(name)}$"))
        )
        button = card.locator(".thumb.good" if relevant else ".thumb.bad")
        wanted = "false" if button.get_attribute("aria-pressed") == "true" else "true"
        button.click()
        card.locator(f"{'.thumb.good' if relevant else '.thumb.bad'}[aria-pressed={wanted}]").wait_for(timeout=SLOW)
        return self.names()

    def toast(self, text):
        return self.page.locator(".toast").filter(has_text=text).first

    def reload(self):
        self.requests.clear()
        self.page.reload()
        self.page.locator("nav").wait_for(timeout=SLOW)
        return self

    def kept(self, name):
        """A setting of Complete, Chat and Personalise, as storage has it."""
        return self.page.evaluate(KEPT, name)

    def give(self, data, name="mine.gguf"):
        """Chooses a GGUF file in the tab that is open."""
        files = [{"name": name, "mimeType": "", "buffer": data}]
        self.page.locator("main input[data-pick=gguf]").set_input_files(files)
        return self

    def loaded(self):
        """The language model is ready."""
        self.page.locator("main .running").wait_for(timeout=SLOW)
        return self

    def answers(self):
        return self.page.locator(".message.assistant:not(.now) .body").all_inner_texts()

    def ask(self, question):
        """The answer to a question, once it is whole."""
        before = len(self.answers())
        self.page.locator("#question").fill(question)
        self.page.keyboard.press("Enter")
        self.page.locator(".message.assistant:not(.now)").nth(before).wait_for(timeout=SLOW)
        return self.answers()[-1]
