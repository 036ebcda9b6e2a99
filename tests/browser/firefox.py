"""Stock Firefox over WebDriver BiDi, without a driver program: start, open a page, evaluate, press, choose files, quit. Only what the tests need."""

import contextlib
import json
import re
import shutil
import subprocess
import threading
from pathlib import Path

from websockets.sync.client import connect

NAMES = ["firefox-esr", "firefox"]
PREFS = {
    "remote.active-protocols": 1,  # WebDriver BiDi
    "datareporting.policy.dataSubmissionEnabled": False,
    "app.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "browser.download.folderList": 2,  # the folder that is named
    "browser.download.always_ask_before_handling_new_types": False,
}
KEYS = {"Enter": "\ue007", "Tab": "\ue004", "Escape": "\ue00c", "Control": "\ue009"}
LOGGED, SAVED = "log.entryAdded", "browsingContext.downloadEnd"


def firefox_path():
    """The executable, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Firefox:
    """One headless browser with one tab and a profile of its own in `folder`; what it saves lies there, too."""

    def __init__(self, executable, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        prefs = PREFS | {"browser.download.dir": str(folder)}
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in prefs.items()]
        (folder / "user.js").write_text("\n".join(lines), encoding="utf-8")
        command = [executable, "--headless", "--no-remote", "--profile", str(folder), "--remote-debugging-port", "0"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        address = next(match for line in self.process.stderr if (match := re.search(r"ws://\S+", line))).group()
        threading.Thread(target=self.process.stderr.read, daemon=True).start()
        self.cleanup = contextlib.ExitStack()
        self.socket = self.cleanup.enter_context(connect(f"{address}/session", max_size=1 << 26))
        self.count, self.events = 0, []
        self.command("session.new", capabilities={})
        self.command("session.subscribe", events=[LOGGED, SAVED])
        self.tab = self.command("browsingContext.getTree")["contexts"][0]["context"]

    def command(self, method, timeout=120, **params):
        """The result of one BiDi command. Raises RuntimeError with the browser's own words."""
        self.count += 1
        self.socket.send(json.dumps({"id": self.count, "method": method, "params": params}))
        while True:
            answer = json.loads(self.socket.recv(timeout=timeout))
            if answer["type"] == "event":
                self.events.append(answer)
            if answer.get("id") != self.count:
                continue
            if answer["type"] == "error":
                raise RuntimeError(f"{method}: {answer['error']}: {answer.get('message')}")
            return answer["result"]

    def uncaught(self):
        """What pages threw that nobody caught, and what their policy refused."""
        said = [event["params"] for event in self.events if event["method"] == LOGGED]
        return [one["text"] for one in said if one["level"] == "error" and one["type"] == "javascript"]

    def node(self, **locator):
        """The first element with `css="selector"`, or with `role="button", name="Save"`: as it is said aloud."""
        named = (
            {"type": "css", "value": locator["css"]}
            if "css" in locator
            else {"type": "accessibility", "value": locator}
        )
        found = self.command("browsingContext.locateNodes", context=self.tab, locator=named)["nodes"]
        if not found:
            raise LookupError(f"{locator} is not in: {self.evaluate('document.body.innerText')}")
        return {"sharedId": found[0]["sharedId"]}

    def click(self, **locator):
        """Moves the pointer there, having scrolled it into sight, and presses."""
        node = self.node(**locator)
        look = {"functionDeclaration": "(e) => e.scrollIntoView({ block: 'center' })", "arguments": [node]}
        self.command("script.callFunction", target={"context": self.tab}, awaitPromise=False, **look)
        there = {"type": "pointerMove", "x": 0, "y": 0, "origin": {"type": "element", "element": node}}
        press = [there, {"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}]
        self.act(type="pointer", id="pointer", actions=press)

    def press(self, *keys):
        """Keys one after another; "Control+a" holds the first."""
        for key in keys:
            held = [KEYS.get(one, one) for one in (key.split("+") if len(key) > 1 else key)]
            down = [{"type": "keyDown", "value": one} for one in held]
            self.act(type="key", id="keys", actions=[*down, *({"type": "keyUp", "value": one} for one in held[::-1])])

    def act(self, **source):
        self.command("input.performActions", context=self.tab, actions=[source])

    def choose(self, css, *paths):
        """Files in the picker of this input."""
        self.command(
            "input.setFiles", context=self.tab, element=self.node(css=css), files=[str(path) for path in paths]
        )

    def saved(self, work):
        """The path of the file that is saved because of `work`."""
        before = len(self.events)
        work()
        while not (ended := [e["params"] for e in self.events[before:] if e["method"] == SAVED]):
            self.events.append(json.loads(self.socket.recv(timeout=120)))
        return Path(ended[0]["filepath"])

    def reload(self):
        self.command("browsingContext.reload", context=self.tab, wait="complete")

    def open(self, url):
        self.command("browsingContext.navigate", context=self.tab, url=url, wait="complete")

    def evaluate(self, expression):
        """The JSON value of an expression (a promise is awaited). Raises RuntimeError with what the page threw."""
        wrapped = f"(async () => JSON.stringify(await ({expression})))()"
        target = {"context": self.tab}
        answer = self.command("script.evaluate", expression=wrapped, target=target, awaitPromise=True)
        if answer["type"] == "exception":
            raise RuntimeError(answer["exceptionDetails"]["text"])
        return json.loads(answer["result"].get("value", "null"))

    def until(self, expression, seconds=120):
        """Waits in the page until the expression is truthy and answers it; the page's own changes wake it."""
        return self.evaluate(f"""new Promise((resolve, reject) => {{
          const look = () => {{
            const found = {expression};
            if (!found) return;
            watch.disconnect();
            clearTimeout(timer);
            resolve(found);
          }};
          const watch = new MutationObserver(look);
          const seen = () => document.body.innerText.slice(0, 600);
          const late = () => reject(new Error("never came: " + {json.dumps(expression)} + " in: " + seen()));
          const timer = setTimeout(late, {seconds * 1000});
          watch.observe(document, {{ subtree: true, childList: true, attributes: true, characterData: true }});
          look();
        }})""")

    def close(self):
        with contextlib.suppress(Exception):
            self.command("browser.close", timeout=10)
        with contextlib.suppress(Exception):
            self.cleanup.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
