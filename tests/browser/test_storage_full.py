"""Storage that Chromium itself says is full, while training and when an adapter is to be kept: named errors, nothing half, and room helps.

The origin's quota is set through the DevTools protocol before its first visit, for Chromium remembers for half a minute how much room a
database has; the rest is filled with random bytes, for it compresses others. What `estimate()` tells is no help: 10 GiB, always.
"""

import pytest

from tests.browser.test_sdk_language import prepared
from tests.browser.test_sdk_training import ready

pytestmark = pytest.mark.browser
QUOTA = 24 << 20  # the model is 8 MB of it
FILL = """() => {
  const opened = (request) => new Promise((resolve, reject) => Object.assign(request, { onsuccess: () => resolve(request.result), onerror: () => reject(request.error) }));
  const noise = (bytes) => new Blob(Array.from({ length: Math.ceil(bytes / 65536) }, () => crypto.getRandomValues(new Uint8Array(Math.min(bytes, 65536))))).arrayBuffer();
  window.fill = async () => {
    const request = indexedDB.open("filler");
    request.onupgradeneeded = () => request.result.createObjectStore("noise", { autoIncrement: true });
    const filler = await opened(request);
    const put = async (bytes) => {
      const value = await noise(bytes), work = filler.transaction("noise", "readwrite", { durability: "strict" });
      work.objectStore("noise").put(value);
      return new Promise((resolve) => Object.assign(work, { oncomplete: () => resolve(true), onabort: () => resolve(false) }));
    };
    for (let bytes = 1 << 20; bytes >= 64; ) if (!(await put(bytes))) bytes >>= 1;
    filler.close();
  };
  window.told = (work) => work.then(() => "done", ({ code, message }) => ({ code, message }));
}"""


class Full:
    """A page whose origin has little room. `room()` gives it back all."""

    def __init__(self, page, context, url):
        self.page, self.origin = page, url.rstrip("/")
        self.devtools = context.new_cdp_session(page)
        self.devtools.send("Storage.overrideQuotaForOrigin", {"origin": self.origin, "quotaSize": QUOTA})

    def room(self):
        self.devtools.send("Storage.overrideQuotaForOrigin", {"origin": self.origin})


@pytest.fixture
def full(page, context, site):
    url = site()
    made = Full(page, context, url)
    prepared(page, url)
    ready(page, 1)
    page.evaluate(FILL)
    return made


def test_checkpoints_without_room_are_said_and_training_ends_with_the_same_adapter(full):
    found = full.page.evaluate("""async () => {
      const whole = await taught(long);
      const trainer = made(long), notices = [];
      let filled;
      const onEvent = (event) => {
        if (event.kind === "step" && event.step === 1) trainer.pause();
        if (event.kind === "paused") filled = fill().then(() => trainer.resume());
        if (event.kind === "notice") notices.push(event);
      };
      const result = await trainer.train(text, { onEvent });
      await filled;
      window.adapter = await trainer.adapter();
      const keep = await told(session.adapters.keep(adapter));
      return { whole, reason: result.reason, losses: losses(result), id: adapter.id, notices, keep, saved: await session.adapters.saved() };
    }""")
    assert (found["reason"], found["id"], found["losses"]) == ("steps", found["whole"]["id"], found["whole"]["losses"])
    assert [notice["code"] for notice in found["notices"]] == ["quota_exceeded"]
    assert found["keep"]["code"] == "quota_exceeded" and found["saved"] == []
    full.room()
    kept = full.page.evaluate("""async () => {
      const { id } = await session.adapters.keep(adapter);
      return { same: id === adapter.id, saved: (await session.adapters.saved()).length, loaded: (await session.adapters.load({ saved: id })).id === id };
    }""")
    assert kept == {"same": True, "saved": 1, "loaded": True}


def test_a_training_that_finds_no_room_to_begin_is_refused_by_name_and_leaves_nothing(full):
    found = full.page.evaluate("""async () => {
      await fill();
      return { train: await told(made().train(text)), trainings: await session.trainers() };
    }""")
    assert found["train"]["code"] == "quota_exceeded" and found["trainings"] == []
    full.room()
    assert full.page.evaluate("async () => (await made().train(text)).reason") == "steps"
