"""The Complete and Chat tabs on the built site, in Chromium: the site's code model, small random models in GGUF files of one's own."""

import base64
import re
from functools import cache

import pytest

from tests.browser.apppage import PYTHON, SLOW, App
from tools.gguf_file import file_pieces
from tools.oracles.small_models import MODELS, vocabulary

pytestmark = pytest.mark.browser
CODE = re.compile(r"/models/python-completion[^?]*\.gguf")
TEMPLATE = "{% for m in messages %}<|special1|>{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}<|special1|>assistant: {% endif %}"
BEGUN = "def read(path):\n    with open(path) as file:\n        "
STOP_AT_FIRST_WORDS = """() => new MutationObserver((_, self) => {
  if (!document.querySelector('.message.now .body')?.textContent) return;
  self.disconnect();
  document.querySelector('.send').click();
}).observe(document.querySelector('.messages'), { childList: true, subtree: true, characterData: true })"""
COUNT_GROWTH = """() => { window.seen = new Set(); new MutationObserver(() => seen.add(document.querySelector('.message.now .body')?.textContent))
  .observe(document.querySelector('.messages'), { childList: true, subtree: true, characterData: true }); }"""


@cache
def model(template=TEMPLATE, architecture="qwen2"):
    """A small random model's GGUF file that reads 2,048 tokens."""
    small = MODELS[architecture]
    told = small.metadata | vocabulary(small) | ({"tokenizer.chat_template": template} if template else {})
    told |= {f"{architecture}.context_length": 4096} if architecture == "qwen2" else {}
    return b"".join(file_pieces(told, small.tensors(), "q8_0"))


def opened(page, url, tab):
    refused = []
    page.on("console", lambda message: refused.append(message.text) if "Content Security" in message.text else None)
    app = App(page, f"{url}#{tab}")
    app.refused = refused
    page.locator(f"#{tab}").wait_for()
    return app


@pytest.fixture
def chat(page, site):
    """The app with a small model that chats, answering with the likeliest token each time."""
    app = opened(page, site(), "chat").give(model()).loaded()
    set_number(page, "temperature", "0")
    set_number(page, "maxTokens", "40")
    yield app
    assert app.refused == []


def set_number(page, name, value):
    page.get_by_role("button", name="Settings").click()
    page.locator(f"[data-setting={name}] input").fill(value)
    page.keyboard.press("Escape")


def ghost(page):
    found = page.locator(".ghost:not(:empty)")
    found.wait_for(timeout=SLOW)
    page.locator(".unseen").filter(has_text="Suggestion").wait_for(timeout=SLOW)  # it is whole
    return found.text_content()


def test_code_is_completed_as_one_types_and_survives_a_reload(page, site):
    app = opened(page, site(), "complete")
    page.get_by_text("signed by this site").first.wait_for()
    assert not app.asked(CODE), "weights are not fetched before one asks for them"
    page.get_by_role("button", name=re.compile("Load")).first.click()
    app.loaded()
    area = page.locator("#code")
    area.focus()
    page.keyboard.insert_text(BEGUN)
    first = ghost(page)
    page.keyboard.press("Tab")
    assert area.input_value() == BEGUN + first
    page.keyboard.press("Control+z")
    assert area.input_value() == BEGUN, "what was taken can be undone"
    assert ghost(page) == first, "the same text has the same suggestion"
    page.keyboard.press("Control+ArrowRight")
    word = area.input_value()[len(BEGUN) :]
    assert word and first.startswith(word) and word != first
    page.keyboard.press("Escape")
    page.locator(".ghost:empty").wait_for(state="attached")
    assert re.search(r"tokens/s.*first token after \d+ ms.*cached", page.locator("#complete .summary").inner_text())
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") != "code", "without a suggestion Tab leaves the field"
    app.reload().loaded()
    assert area.input_value() == BEGUN + word and not app.asked(CODE), "text and model are kept"
    assert app.refused == [] and not app.asked(PYTHON)


def test_typing_along_a_suggestion_keeps_it_and_typing_away_drops_it(page, site):
    app = opened(page, site(), "complete")
    page.get_by_role("button", name=re.compile("Load")).first.click()
    app.loaded()
    page.locator("#code").focus()
    page.keyboard.insert_text(BEGUN)
    first = ghost(page)
    page.keyboard.insert_text(first[0])
    assert page.locator(".ghost").text_content() == first[1:]
    page.keyboard.press("ArrowUp")
    page.locator(".ghost:empty").wait_for(state="attached")


def test_a_file_of_ones_own_is_told_unsigned_and_answers_in_pieces(chat):
    page = chat.page
    facts = page.locator("#chat .modelbar .facts").inner_text()
    assert "qwen2" in facts and "unsigned" in facts and "memory" in facts
    page.evaluate(COUNT_GROWTH)
    set_number(page, "maxTokens", "400")
    answer = chat.ask("abc")
    assert answer and page.evaluate("seen.size") > 2, "the answer was shown while it came"
    told = page.locator(".message.assistant .facts").inner_text()
    assert re.search(r"tokens/s.*first token after.*tokens.*prompt \d+.*seed \d+", told), told
    assert chat.ask("abc again") and "cached" in page.locator(".message.assistant .facts").last.inner_text()
    page.locator("#chat .running").click()
    dialog = page.locator("dialog").inner_text()
    assert "Weights" in dialog and "KV cache" in dialog and "unsigned" in dialog


def test_an_answer_can_be_stopped_and_what_there_is_of_it_is_kept(chat):
    page = chat.page
    set_number(page, "maxTokens", "1900")
    page.evaluate(STOP_AT_FIRST_WORDS)
    answer = chat.ask("abc")
    assert answer and "stopped" in page.locator(".message.assistant .facts").inner_text()
    chat.reload()
    assert chat.answers() == [answer], "a reload keeps the conversation"
    page.locator("#question[placeholder*='again']").wait_for()  # the file is asked for


def test_answers_can_be_had_again_and_questions_changed_with_a_way_back(chat):
    page = chat.page
    first, second = chat.ask("one"), chat.ask("two")
    page.get_by_role("button", name="Again").click()
    chat.toast("Answering again").wait_for()
    page.locator(".message.assistant:not(.now)").nth(1).wait_for(timeout=SLOW)
    assert chat.answers() == [first, second], "the likeliest answer is the same again"
    page.get_by_role("button", name="Edit").first.click()
    page.locator(".change textarea").fill("uno")
    page.keyboard.press("Enter")
    chat.toast("What followed was cut").wait_for()
    page.locator(".message.assistant:not(.now)").wait_for(timeout=SLOW)
    assert page.locator(".message.user .body").all_inner_texts() == ["uno"]
    chat.toast("What followed was cut").get_by_role("button", name="Undo").click()
    page.locator(".message.user").nth(1).wait_for()
    assert page.locator(".message.user .body").all_inner_texts() == ["one", "two"]
    assert chat.answers() == [first, second]


def test_conversations_are_listed_renamed_saved_and_deleted_with_a_way_back(chat):
    page = chat.page
    answer = chat.ask("one")
    page.get_by_role("button", name="New conversation").first.click()
    chat.ask("two")
    names = page.locator(".talkrow .name")
    assert names.all_inner_texts() == ["two", "one"]
    page.get_by_role("button", name="Rename one").click()
    page.keyboard.type("First")
    page.keyboard.press("Enter")
    page.locator(".talkrow .name", has_text="First").click()
    page.locator("#chat h2", has_text="First").wait_for()
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save as Markdown").click()
    assert saved.value.suggested_filename == "First.md"
    assert saved.value.path().read_text().startswith("# First\n\n**You**\n\none\n")
    page.get_by_role("button", name="Delete First").click()
    chat.toast("Conversation deleted").get_by_role("button", name="Undo").click()
    page.locator("#chat h2", has_text="First").wait_for()
    assert chat.answers() == [answer]


def test_a_model_without_a_chat_template_is_offered_in_complete(page, site):
    app = opened(page, site(), "chat").give(model(None), "plain.gguf").loaded()
    page.locator("#complete").wait_for()
    app.go("chat")
    page.get_by_text("has no chat template").wait_for()
    assert page.locator("#question").is_disabled()
    page.get_by_role("button", name="Use it in Complete").click()
    page.locator("#complete").wait_for()


BAD = [
    ("cut short", model()[:-500], "This file is no sound model"),
    ("no GGUF at all", b"PK\x03\x04" + bytes(5000), "This file is no sound model"),
]


@pytest.mark.parametrize(("why", "data", "headline"), BAD, ids=[row[0] for row in BAD])
def test_a_damaged_file_is_named_and_nothing_else_changes(page, site, why, data, headline):
    app = opened(page, site(), "chat")
    page.get_by_text("signed by this site").first.wait_for()
    app.give(data, "broken.gguf")
    toast = page.locator(".toast.bad")
    toast.wait_for()
    assert headline in toast.inner_text() and "broken.gguf" in toast.inner_text()
    assert "Python completion" in page.locator("#chat .line select").inner_text()
    assert not app.asked(PYTHON), "a file that cannot be is refused before Python is started"


def test_an_encoders_file_is_refused_in_words(page, site):
    opened(page, site(), "chat").give(model(None, "bert"), "bert.gguf")
    page.locator("main .problem").filter(has_text="is an encoder").wait_for(timeout=SLOW)


def test_a_gguf_file_dropped_anywhere_becomes_the_model_and_no_note(page, site):
    app = opened(page, site(), "library")
    page.evaluate(
        """(data) => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([Uint8Array.from(atob(data), (c) => c.charCodeAt(0))], 'mine.gguf'));
      document.body.dispatchEvent(new DragEvent('drop', { bubbles: true, cancelable: true, dataTransfer: transfer }));
    }""",
        base64.b64encode(model()).decode(),
    )
    page.locator("#chat").wait_for()
    app.loaded()
    app.go("models")
    card = page.locator(".model").filter(has_text="a file of yours")
    card.wait_for()
    assert "unsigned" in card.inner_text() and "KV cache" in card.inner_text()
    assert app.documents() == []


@pytest.mark.parametrize("tab", ["complete", "chat"])
def test_the_language_tabs_fit_a_phone(page, site, tab):
    page.set_viewport_size({"width": 360, "height": 700})
    opened(page, site(), tab)
    page.get_by_text("signed by this site").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
