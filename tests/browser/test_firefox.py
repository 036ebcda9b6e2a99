"""A smoke test in Firefox: the page loads, reads a text with the real model, finds it by meaning, and still has it after a reload."""

import json

READY = "!document.querySelector('.task') && document.querySelector('.status .item.ready')?.textContent"


def add(browser, title, text):
    browser.evaluate("document.querySelector('nav a[data-tab=library]').click()")
    browser.until("Boolean(document.querySelector('.paste'))")
    browser.evaluate(f"""(() => {{
      const form = document.querySelector('.paste');
      form.name.value = {json.dumps(title)};
      form.text.value = {json.dumps(text)};
      form.requestSubmit();
    }})()""")


def best(browser, query):
    """The first document for a query, once its answer is shown."""
    browser.evaluate("document.querySelector('nav a[data-tab=search]').click()")
    browser.until("Boolean(document.getElementById('query'))")
    browser.evaluate(f"""(() => {{
      const box = document.getElementById('query');
      box.value = {json.dumps(query)};
      box.dispatchEvent(new InputEvent('input'));
    }})()""")
    shown = f"document.getElementById('summary').textContent.includes('\\u201c{query}\\u201d')"
    return browser.until(f"{shown} && document.querySelector('.card .name')?.textContent")


def test_firefox_loads_indexes_searches_and_remembers(firefox, site):
    firefox.open(site())
    firefox.until("document.querySelector('.welcome h1')?.textContent && document.querySelector('.status .item')")
    states = "(state) => { const item = document.querySelector('.status .item'); item.className = `item ${state}`; return item.offsetWidth; }"
    assert len(set(firefox.evaluate(f"['idle', 'loading', 'ready'].map({states})"))) == 1, "the line stays together"
    add(firefox, "Ferry", "The boat to the island leaves at noon from the old harbour.")
    add(firefox, "Oven", "Bread needs forty minutes at two hundred and twenty degrees.")
    firefox.until(
        "document.querySelector('.document.ready ~ .document.ready, .document.ready + .document.ready')?.dataset.id"
    )
    assert best(firefox, "when does the ship sail") == "Ferry"
    assert best(firefox, "baking a loaf") == "Oven"
    assert firefox.evaluate("crossOriginIsolated") is True
    firefox.reload()
    firefox.until(READY)
    assert best(firefox, "when does the ship sail") == "Ferry"
