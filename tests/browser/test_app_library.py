"""The library in the app: every kind of bad input, changes, delete with undo, backup and restore, killed tabs, thousands of files."""

import json
import random
import re

import pytest

from tests.browser.apppage import SLOW, App
from tests.browser.waiting import eventually

pytestmark = pytest.mark.usefixtures("dist")


@pytest.fixture
def app(page, site):
    return App(page, site())


LONG = "water flows downhill and the miller waits for rain " * 400  # one paragraph, far beyond 256 tokens
GOOD = {
    "note__md": b"# Greenhouse\n\nThe heating cable keeps seedlings above ten degrees.",
    "page__html": b"<title>Ferry</title><script>alert('never')</script><style>p{}</style><p>The boat to the island leaves at noon.</p>",
    "emoji__txt": "🙂🙃 Katzen 猫 \U0001f9d1\u200d\U0001f680 astronaut".encode(),
    "latin1__txt": b"The caf\xe9 opens at eight.",
    "long__txt": LONG.encode(),
}
REFUSED = {
    "empty__txt": (b"", "holds no text"),
    "blank__txt": (b" \n\t\n", "holds no text"),
    "photo__jpg": (b"\xff\xd8\xff\xe0" + bytes(200), "an image"),
    "paper__pdf": (b"%PDF-1.7\n...", "a PDF"),
    "data__bin": (bytes(range(256)), "binary"),
}


def test_bad_files_are_left_out_by_name_with_a_reason_and_good_ones_are_read(app):
    app.files(**GOOD, **{name: data for name, (data, _) in REFUSED.items()})
    summary = app.page.locator(".skipped summary")
    summary.wait_for(timeout=SLOW)
    assert summary.inner_text().startswith(f"{len(REFUSED)} files left out")
    reasons = app.page.locator(".skipped").inner_text()
    for name, (_, reason) in REFUSED.items():
        assert re.search(f"{re.escape(name.replace('__', '.'))}.*{reason}", reasons), name
    app.settled()
    assert sorted(app.documents()) == sorted(name.replace("__", ".") for name in GOOD)
    for told in ("1 byte was not valid UTF-8", "Long paragraphs were split"):  # rows are drawn a moment later
        app.page.locator(".documents", has_text=told).wait_for()
    assert app.search("when does the ship sail")[0] == "page.html"
    app.page.locator(".card .open").first.click()
    assert "never" not in app.page.locator(".reader").inner_text()


def test_pasting_nothing_says_so_and_keeps_the_page(app):
    app.paste("", "   ")
    app.toast("No text in it").wait_for()
    assert app.page.locator(".document").count() == 0


def test_what_is_written_while_a_text_is_taken_is_not_lost(app):
    app.go("library").page.evaluate("""() => {
      const form = document.querySelector('.paste');
      form.text.value = 'The first one.';
      form.requestSubmit();
      form.text.value = 'The next';
    }""")
    app.toast("Added").wait_for()
    assert app.page.locator(".paste textarea").input_value() == "The next"


def test_a_text_of_one_megabyte_is_cut_into_passages_and_can_be_cancelled(app):
    words = random.Random(7).choices("river mill bread stone winter lamp garden letter train music".split(), k=170_000)
    text = "\n\n".join(" ".join(words[i : i + 60]) for i in range(0, len(words), 60))
    assert len(text) > 1_000_000
    app.files(big__txt=text.encode(), small__txt=b"The locksmith lives at number nine.")
    task = app.page.locator(".task", has_text="Reading your documents")
    task.wait_for(timeout=SLOW)
    task.get_by_role("button", name="Stop").click()
    app.page.get_by_text("not read yet").wait_for(timeout=SLOW)
    app.page.get_by_role("button", name="Read them now").click()
    task.wait_for(timeout=SLOW)


def test_a_changed_file_is_updated_in_place_and_the_update_can_be_undone(app):
    app.files(plan__txt=b"The picnic is on Saturday by the lake.")
    app.settled()
    app.files(plan__txt=b"The picnic was moved to the museum because of rain.")
    toast = app.toast("1 updated")
    toast.wait_for()
    app.settled()
    assert app.documents() == ["plan.txt"]
    app.search("picnic")
    assert "museum" in app.page.locator(".card .words").first.inner_text()
    toast.get_by_role("button", name="Undo").click()
    app.page.locator(".card .words", has_text="lake").wait_for(timeout=SLOW)


def test_documents_are_renamed_and_deleted_with_undo(app):
    app.paste("Old name", "The spare key hangs behind the mirror.")
    app.settled()
    app.page.get_by_role("button", name="Rename Old name").click()
    app.page.get_by_label("New name").fill("Keys")
    app.page.keyboard.press("Enter")
    app.page.locator(".document .name", has_text="Keys").wait_for()
    app.page.get_by_role("button", name="Delete Keys").click()
    app.page.locator(".document").wait_for(state="detached")
    app.toast("1 document deleted").get_by_role("button", name="Undo").click()
    app.page.locator(".document .name", has_text="Keys").wait_for()
    assert app.search("where can I find the key") == ["Keys"]
    app.go("library").page.get_by_role("button", name="Delete Keys").click()
    app.page.locator(".document").wait_for(state="detached")  # shown as deleted only once it is stored
    app.reload()
    assert app.documents() == []


def test_a_backup_brings_everything_back_in_another_browser_and_a_bad_one_changes_nothing(app, chromium, tmp_path):
    page = app.page
    page.get_by_role("button", name="Try it with sample notes").click()
    app.settled()
    found = app.search("trumpet")
    app.mark(found[-1])
    taught = app.names()
    app.go("library")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save a backup").click()
    path = tmp_path / "backup.json"
    download.value.save_as(path)

    context = chromium.new_context()
    try:
        other = App(context.new_page(), app.url)
        bad = path.read_text(encoding="utf-8")[:-500]
        pick = other.go("library").page.locator("input[data-pick=backup]")
        pick.set_input_files({"name": "bad.json", "mimeType": "application/json", "buffer": bad.encode()})
        other.toast("This backup cannot be used").wait_for(timeout=SLOW)
        assert other.documents() == []
        pick.set_input_files(path)
        other.toast("12 documents restored").wait_for(timeout=SLOW)
        other.settled()
        assert other.search("trumpet") == taught
        assert json.loads(path.read_text(encoding="utf-8"))["format"] == "edgenet-backup"
    finally:
        context.close()


def counts(page):
    """Documents by state and saved vector records, read from the store itself."""
    return page.evaluate("""() => new Promise((resolve, reject) => {
      const open = indexedDB.open("edgenet-user-v1");
      open.onerror = () => reject(open.error);
      open.onsuccess = () => {
        const all = open.result.transaction("documents").objectStore("documents").getAll();
        all.onsuccess = () => { open.result.close(); resolve(all.result.map(({ name, state }) => [name, state])); };
      };
    })""")


def finished(page):
    return {name for name, state in counts(page) if state == "ready"}


def kills(request):
    return 20 if request.config.getoption("--long") else 3


def test_a_killed_tab_keeps_what_was_finished_and_goes_on_with_the_rest(killable, site, request):
    """Killed again and again at random moments; no document that was ready is ever read again, and in the end all are."""
    address, chance = site(), random.Random(11)
    page, kill = killable()
    app = App(page, address)
    words = "sun rain coal bread mill song".split()
    texts = {f"n{i:03}__txt": f"Note {i}. {' '.join(chance.choices(words, k=90))}".encode() for i in range(160)}
    app.files(**texts)
    page.locator(".task", has_text="Reading your documents").wait_for(timeout=SLOW)
    ready, cut_short = set(), 0
    for _ in range(kills(request)):
        wanted = min(len(texts), len(ready) + chance.randint(0, 12))
        eventually(page, lambda: finished(page), lambda now: len(now) >= wanted)  # noqa: B023 called here
        kill()
        page, kill = killable()
        app = App(page, address)
        now = finished(page)
        assert ready <= now, "what was finished stays finished"
        assert len(counts(page)) == len(texts)
        ready = now
        cut_short += len(now) < len(texts)
    assert cut_short, "at least one kill came before the end"
    app.settled()
    assert {state for _, state in counts(page)} == {"ready"}
    assert "160 documents" in app.go("library").page.locator(".bar h2").inner_text()


def test_five_thousand_files_are_taken_in_the_background_and_the_page_stays_usable(page, site, tmp_path):
    app = App(page, site())
    app.paste("Lighthouse", "The lamp of the lighthouse turns twice a minute.")
    app.settled()
    folder = tmp_path / "many"
    folder.mkdir()
    for i in range(5000):
        (folder / f"{i:04}.txt").write_text(f"Entry {i}: nothing much happened.", encoding="utf-8")
    (folder / "logo.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    page.locator("input[data-pick=folder]").set_input_files(folder)
    page.locator(".task", has_text="Reading").first.wait_for(timeout=SLOW)
    assert app.search("how often does the beacon rotate")[0] == "Lighthouse", "search answers meanwhile"
    app.go("library").toast("5,000 documents added, 1 left out").wait_for(timeout=180_000)
    page.locator(".bar h2", has_text="5,001 documents").wait_for()
    assert page.locator(".document").count() <= 200, "only what can be looked at is drawn"
    page.locator(".task", has_text="Reading your documents").get_by_role("button", name="Stop").click()
    page.get_by_text("not read yet").wait_for(timeout=SLOW)
    assert app.search("how often does the beacon rotate")[0] == "Lighthouse"
