"""Stock Firefox over WebDriver BiDi, without a driver program: start, open a page, evaluate, quit. Only what the smoke test needs."""

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
}


def firefox_path():
    """The executable, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Firefox:
    """One headless browser with one tab and a profile of its own in `folder`."""

    def __init__(self, executable, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in PREFS.items()]
        (folder / "user.js").write_text("\n".join(lines), encoding="utf-8")
        command = [executable, "--headless", "--no-remote", "--profile", str(folder), "--remote-debugging-port", "0"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        address = next(match for line in self.process.stderr if (match := re.search(r"ws://\S+", line))).group()
        threading.Thread(target=self.process.stderr.read, daemon=True).start()
        self.cleanup = contextlib.ExitStack()
        self.socket = self.cleanup.enter_context(connect(f"{address}/session", max_size=1 << 26))
        self.count = 0
        self.command("session.new", capabilities={})
        self.tab = self.command("browsingContext.getTree")["contexts"][0]["context"]

    def command(self, method, timeout=120, **params):
        """The result of one BiDi command. Raises RuntimeError with the browser's own words."""
        self.count += 1
        self.socket.send(json.dumps({"id": self.count, "method": method, "params": params}))
        while True:
            answer = json.loads(self.socket.recv(timeout=timeout))
            if answer.get("id") != self.count:
                continue  # an event
            if answer["type"] == "error":
                raise RuntimeError(f"{method}: {answer['error']}: {answer.get('message')}")
            return answer["result"]

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
