"""Search over documents with a model of bags of words: index by content, only changes embedded, every bad text. Any Python."""

import asyncio
from hashlib import sha256
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgenet.documents import MAX_BYTES, Document, html_text, line_of, read_document
from edgenet.errors import EmptyText, NotText, OutputNotFinite, TextTooLarge, WrongLength
from edgenet.search import Index, load_index, search, update

D = 64
NOTES = {
    "heating.md": "# Heating\n\nThe boiler in the cellar is serviced every October.\n\nIts key hangs behind the door.\n",
    "garden.txt": "Tomatoes want water in the morning.\n\nThe drain under the hedge floods after storms.\n",
}


def embed(texts):
    """Unit vectors f32 (n, D): hashed bags of words."""
    rows = np.zeros((len(texts), D), np.float32)
    for row, text in zip(rows, texts, strict=True):
        for word in text.lower().replace(".", " ").split():
            row[sha256(word.encode()).digest()[0] % D] += 1
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


class Model:
    """Counts what it is asked to embed."""

    def __init__(self):
        self.texts = []

    async def __call__(self, texts):
        self.texts += texts
        return embed(texts)


def paragraphs(text):
    """A splitter: one passage per paragraph."""
    start = 0
    for part in text.split("\n\n"):
        if part.strip():
            yield SimpleNamespace(start=start, end=start + len(part))
        start += len(part) + 2


def documents(**changed):
    texts = NOTES | {name.replace("_", "."): text for name, text in changed.items()}
    return [read_document(name, text.encode()) for name, text in sorted(texts.items())]


def built(docs, model=None, index=None):
    index = index or Index("m")
    count = asyncio.run(update(index, docs, paragraphs, model or Model()))
    return index, count


WHOLE = built(documents())[0].dump()


def found(index, docs, query, k=3):
    return asyncio.run(search(index, query, docs, Model(), k))


def test_the_passage_that_answers_is_first_with_file_line_and_cosine():
    docs = documents()
    best = found(built(docs)[0], docs, "the boiler serviced in October")[0]
    text = "The boiler in the cellar is serviced every October."
    assert (best.name, best.line, best.text) == ("heating.md", 3, text)
    assert best.score == pytest.approx(float(embed([text])[0] @ embed(["the boiler serviced in October"])[0]), abs=1e-6)


@pytest.mark.parametrize("names", [["a"], ["z"], ["a", "z"]], ids=["first", "last", "both"])
def test_a_document_without_a_passage_is_indexed_once_and_asks_nothing_of_the_model(names):
    empty = [Document(name, f"digest {n}", " " * n) for n, name in enumerate(names)]
    docs = sorted([*documents(), *empty], key=lambda document: document.name)
    index = built(documents())[0]
    model = Model()
    assert (built(docs, model, index)[1], model.texts) == (len(names), [])
    again = load_index(index.dump(), "m")
    for known in (index, again):
        assert known.stale(docs) == [] and found(known, docs, "the boiler")[0].name == "heating.md"


def test_hits_are_ranked_as_numpy_ranks_them():
    docs = documents()
    passages = [(d.name, d.text[p.start : p.end].strip()) for d in docs for p in paragraphs(d.text)]
    scores = embed([text for _, text in passages]) @ embed(["water behind the door"])[0]
    want = [passages[i] for i in np.argsort(-scores, kind="stable")]
    assert [(h.name, h.text) for h in found(built(docs)[0], docs, "water behind the door", 99)] == want


def test_only_new_content_is_embedded():
    index, _ = built(documents())
    model = Model()
    docs = documents(garden_txt="Only this changed.", new_md=NOTES["heating.md"])  # new.md has a content that is known
    assert built(docs, model, index)[1] == 1
    assert model.texts == ["Only this changed."]
    assert index.prune(docs) == 1
    assert {h.name for h in found(index, docs, "boiler cellar serviced", 2)} == {"heating.md", "new.md"}


def test_an_index_survives_saving_bit_for_bit():
    docs = documents()
    index, _ = built(docs)
    again = load_index(index.dump(), "m")
    assert found(again, docs, "water", 9) == found(index, docs, "water", 9)
    assert again.stale(docs) == []
    assert load_index(Index("m").dump(), "m").entries == {}


def truncated(data):
    return data[: len(data) // 2]


@pytest.mark.parametrize(
    ("reason", "damage", "model"),
    [
        ("another model", lambda data: data, "n"),
        ("cut in half", truncated, "m"),
        ("not an index", lambda data: b"hello", "m"),
        ("no file", lambda data: None, "m"),
    ],
)
def test_an_index_of_no_use_is_made_anew(reason, damage, model):
    data = built(documents())[0].dump()
    assert load_index(damage(data), model).entries == {}


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_damaged_index_never_raises_and_never_gives_half_an_entry(cut, flip):
    data = bytearray(WHOLE[: len(WHOLE) - cut % len(WHOLE)])
    data[flip % len(data)] ^= 0xFF
    for entry in load_index(bytes(data), "m").entries.values():
        assert len(entry.spans) == len(entry.vectors) > 0


def test_many_small_documents_share_batches():
    docs = [read_document(f"{n}.txt", f"note {n}".encode()) for n in range(5000)]
    calls = []

    async def model(texts):
        calls.append(len(texts))
        return embed(texts)

    shown = []
    index = Index("m")
    assert asyncio.run(update(index, docs, paragraphs, model, lambda *a: shown.append(a))) == 5000
    assert set(calls[:-1]) == {32} and shown[-1][0] == shown[-1][1] == sum(len(d.text) for d in docs)
    assert [done for done, _ in shown] == sorted(done for done, _ in shown)
    assert found(index, docs, "note 4321", 1)[0].name.endswith(".txt")


def test_a_text_of_one_megabyte_is_searched_to_its_end():
    text = (
        "\n\n".join(f"Paragraph {n} says nothing of use." for n in range(30_000))
        + "\n\nThe treasure lies under the oak."
    )
    docs = [read_document("big.txt", text.encode())]
    assert len(text) > 1_000_000
    best = found(built(docs)[0], docs, "treasure under the oak", 1)[0]
    assert best.line == text.count("\n") + 1


def test_vectors_that_are_not_finite_are_refused_and_the_rest_stays():
    docs = [read_document(f"{n}.txt", (f"text {n}\n\n" * 40).encode()) for n in range(2)]

    async def model(texts):
        return embed(texts) * (np.nan if "text 1" in texts[0] else 1)

    index = Index("m")
    with pytest.raises(OutputNotFinite, match="1.txt"):
        asyncio.run(update(index, docs, paragraphs, model))
    assert list(index.entries) == [docs[0].digest]


def test_checkpoints_come_between_batches():
    docs = [read_document(f"{n}.txt", f"note {n}".encode()) for n in range(70)]
    index, sizes = Index("m"), []
    asyncio.run(update(index, docs, paragraphs, Model(), checkpoint=lambda: sizes.append(len(index.entries))))
    assert sizes == [32, 64, 70]


def test_a_query_of_another_model_and_an_empty_one_are_refused():
    docs = documents()
    index, _ = built(docs)
    with pytest.raises(WrongLength):
        index.search(np.zeros(D + 1, np.float32), docs, 3)
    with pytest.raises(EmptyText):
        found(index, docs, "  ")
    assert Index("m").search(np.zeros(D, np.float32), docs, 3) == []


# --- documents -------------------------------------------------------------------------------------------------------
BAD = [
    ("zero bytes", b"PK\x03\x04\0\0", NotText),
    ("not UTF-8 at all", bytes(range(128, 256)) * 9, NotText),
    ("nothing", b"", EmptyText),
    ("only white space", b" \n\t\n", EmptyText),
    ("too large", b"a" * (MAX_BYTES + 1), TextTooLarge),
]


@pytest.mark.parametrize(("reason", "data", "error"), BAD, ids=[row[0] for row in BAD])
def test_files_that_are_no_text_are_refused_by_name(reason, data, error):
    with pytest.raises(error, match="x.txt"):
        read_document("x.txt", data)


def test_broken_utf8_is_replaced_and_counted():
    document = read_document("a.txt", "naïve text with a broken ".encode() + b"\xff byte and a real \xef\xbf\xbd in it")
    assert document.replaced == 1 and "broken \ufffd byte" in document.text


@pytest.mark.parametrize("data", [b"\xef\xbb\xbfwith a mark", "emoji 👩‍👩‍👧 and 漢字".encode(), b"dos\r\nlines\r"])
def test_texts_of_every_kind_are_read(data):
    assert read_document("a.txt", data).text == data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")


def test_html_gives_text_with_the_files_line_numbers():
    page = (
        "<html>\n"
        "<head><title>T</title>\n"
        "<style>\n"
        "p { color: red }\n"
        "</style></head>\n"
        "<body\n"
        " class='x'>\n"
        "<p>The caf&eacute;\n"
        "opens <b>late</b>.</p>\n"
        "<script>var a = '<p>';\n"
        "</script>\n"
        "end</body></html>"
    )
    text = html_text(page)
    assert "red" not in text and "var" not in text and "café" in text
    for word in ("T<", "opens", "end"):
        at = text.index(word.rstrip("<"))
        assert line_of(text, at) == line_of(page, page.index(word)), word


@pytest.mark.parametrize("page", ["<", "<p", "<!", "<a b='", "</", "&#x;", "<script>", "<![CDATA[", "<" * 2000])
def test_html_that_is_cut_off_never_raises(page):
    html_text(page)
