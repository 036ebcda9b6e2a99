"""`session.adapters.mergeIntoBase` on the built site, in Chromium: the file is Python's, does what the adapter did, and leaves nothing when it may not be."""

import base64
import hashlib
import json

import numpy as np
import pytest

from edgenet.formats.gguf_write import Tensor, pieces
from edgenet.lora import peft
from edgenet.lora.adapter import for_base
from edgenet.lora.into_base import merged_into_base
from edgenet.lora.merge import merge_whole
from tests.adapters import header_of, random_adapter
from tests.browser import lmmodel
from tests.browser.conftest import chromium_path, launch_args
from tests.browser.hosting import hosted
from tests.browser.test_embed import ADD, PAGE
from tests.browser.test_sdk import PRELUDE
from tests.browser.test_sdk_adapters import TOKENS, cosine, shipped
from tests.browser.test_sdk_language import HELP, MODEL, prepared
from tests.unit.lora_runs import run

pytestmark = pytest.mark.browser
TEXT = "def add(a, b):\n    return a + b\n\n\nclass Point:\n    def __init__(self, x, y):\n        self.x = x\n" * 4

KIT = """([tokens, text, ...given]) => {
  const filesOf = (files) => Object.entries(files).map(([name, data]) => new File([Uint8Array.from(atob(data), (c) => c.charCodeAt(0))], name));
  Object.assign(window, {
    tokens, text, filesOf, folders: given.map(filesOf),
    kept: async (i, name) => (await session.adapters.import({ files: folders[i] }, { name })).id,
    digest: async (blob) => [...new Uint8Array(await crypto.subtle.digest("SHA-256", await blob.arrayBuffer()))].map((b) => b.toString(16).padStart(2, "0")).join(""),
    onDisk: async () => {
      const names = [], root = await navigator.storage.getDirectory();
      const folder = await root.getDirectoryHandle("edgenet-made-v1").catch(() => null);
      if (folder) for await (const name of folder.keys()) names.push(name);
      return names;
    },
    says: async (session, adapters) => {
      const logits = await session.askWorker("lm.logits", { tokens, adapters: adapters.map((id) => ({ id, scale: 1 })) });
      const { tokens: drawn } = await session.complete({ tokens }, { temperature: 0, maxTokens: 12, adapters });
      return { logits: [...logits], drawn };
    },
  });
}"""


def folder(adapter):
    return {name: base64.b64encode(data).decode() for name, data in peft.write(adapter).items()}


def give(page, data, *seeds):
    header = header_of(data)
    tokens = [token % header.tensors["token_embd.weight"].shape[0] for token in TOKENS]
    page.evaluate(KIT, [tokens, TEXT, *(folder(random_adapter(header, seed)) for seed in seeds)])
    return page


def expected(data, *named, type_name=""):
    """(SHA-256, report) of the file that Python writes; `named`: (seed, name) of adapters."""
    header, out = header_of(data), bytearray()
    kept = [for_base(random_adapter(header, seed), header).renamed(name) for seed, name in named]

    async def read(part, offset, length):
        return data[offset : offset + length]

    async def write(piece):
        out.extend(piece)

    report = run(merged_into_base(header, read, run(merge_whole(kept)).adapter, write, type_name=type_name))
    return hashlib.sha256(out).hexdigest(), report


@pytest.fixture
def model(page, site):
    """A page with the site's model open as `session`, and adapters of it."""
    prepared(page, site())
    page.evaluate(f"async () => {{ window.session = await make().load('{MODEL}'); }}")
    return give(page, shipped(), "a", "b")


def dropped(page, url, data):
    """A page with a file of the user's own open as `session`, and an adapter of it."""
    prepared(page, url, data)
    page.evaluate("async () => { window.session = await make().load({ file: gguf }); }")
    return give(page, data, "a")


MERGE = """async (type) => {
  const id = await kept(0, "mine");
  const merged = await session.adapters.mergeIntoBase(id, { type });
  await session.adapters.load({ saved: id });
  const [plain, apart] = [await says(session, []), await says(session, [id])];
  const other = await loader.load({ file: merged.file });
  const made = await says(other, []);
  return { plain, apart, made, name: merged.file.name, size: merged.file.size, report: merged.report, hash: await digest(merged.file), type: other.manifest.optimization.quantization };
}"""
# An f32 base takes up all of the change. On an 8-bit one the merged model has other weights than base and adapter: nearly the same direction.
BASES = {"f32": (None, 1e-3, 0.999999), "q8_0": (None, None, 0.99), "q4_0": ("q8_0", None, 0.99)}


@pytest.mark.parametrize("kind", BASES)
def test_the_file_is_the_one_that_python_writes_and_answers_as_the_adapter_did(page, site, kind):
    data, (type_name, error, likeness) = lmmodel.gguf("qwen2", kind), BASES[kind]
    found = dropped(page, site(), data).evaluate(MERGE, type_name)
    sha, report = expected(data, ("a", "mine"), type_name=type_name or "")
    assert (found["hash"], found["size"], found["name"]) == (sha, report["bytes"], "qwen2-mine.gguf")
    assert found["report"]["tensors"] == [pytest.approx(row) for row in report["tensors"]]
    plain, apart, made = (np.array(found[name]["logits"]) for name in ("plain", "apart", "made"))
    assert cosine(apart, made) > likeness > cosine(plain, made)
    if error:
        assert (
            np.abs(apart - made).max() < error * np.abs(apart).max()
            and found["apart"]["drawn"] == found["made"]["drawn"]
        )


def test_a_published_model_takes_several_at_once_and_the_losses_are_told_before_and_after(model):
    found = model.evaluate("""async () => {
      const ids = [await kept(0, "mine"), await kept(1, "yours")], events = [];
      const one = await session.adapters.mergeIntoBase(ids[0], { evaluate: text, onProgress: (event) => events.push(event) });
      const both = await session.adapters.mergeIntoBase([{ id: ids[0], weight: 3 }, ids[1]], { name: "both" });
      return { one: [one.evaluation, one.report.error, await digest(one.file)], events, both: [both.file.name, both.merge, both.report.error], threads: (await loader.status()).languages.length };
    }""")
    evaluation, error, sha = found["one"]
    assert sha == expected(shipped(), ("a", "mine"))[0]
    before, adapter, after = (evaluation[name]["bitsPerByte"] for name in ("before", "adapter", "after"))
    assert adapter != pytest.approx(before, rel=0.01) and after == pytest.approx(adapter, rel=0.02) and 0 < error < 0.1
    written = [event for event in found["events"] if event["phase"] == "write"]
    assert [e["loaded"] for e in written] == sorted(e["loaded"] for e in written) and written[-1]["loaded"] == written[
        -1
    ]["total"]
    assert {"merge", "evaluate", "write", "compile"} <= {event["phase"] for event in found["events"]}
    name, merge, _ = found["both"]
    assert (
        name.endswith("-both.gguf")
        and merge["weights"] == [0.75, 0.25]
        and merge["rank"] == 8
        and merge["error"] < 1e-5
    )
    assert found["threads"] == 1, "the model that was evaluated is closed again"


def halves(data):
    """{file name: base64} of a model in two files."""
    header, found = header_of(data), {}
    infos = list(header.tensors.values())
    for number, held in enumerate((infos[:5], infos[5:])):
        said = {"split.no": number, "split.count": 2, "split.tensors.count": len(infos)}
        types = header.types | {"split.no": "u16", "split.count": "u16", "split.tensors.count": "i32"}
        made = [Tensor(i.name, i.type, i.shape, data[i.offset : i.offset + i.bytes]) for i in held]
        part = b"".join(pieces((header.metadata if not number else {}) | said, made, types))
        found[f"m-0000{number + 1}-of-00002.gguf"] = base64.b64encode(part).decode()
    return found


def test_a_model_in_two_files_becomes_one(page, site):
    data = lmmodel.gguf("qwen2")
    prepared(page, site())
    give(page, data, "a")
    found = page.evaluate(
        """async (files) => {
      window.session = await make().load({ files: filesOf(files) });
      return digest((await session.adapters.mergeIntoBase(await kept(0, "mine"))).file);
    }""",
        halves(data),
    )
    assert found == expected(data, ("a", "mine"))[0]


def test_a_stop_between_two_pieces_leaves_nothing_and_the_next_one_is_whole(model):
    found = model.evaluate("""async () => {
      const id = await kept(0, "mine"), stop = new AbortController();
      const onProgress = ({ phase, loaded }) => { if (phase === "write" && loaded > 1e6) stop.abort(new RangeError("enough")); };
      const error = await caught(() => session.adapters.mergeIntoBase(id, { signal: stop.signal, onProgress }));
      await until(async () => !(await onDisk()).length);
      const { file, discard } = await session.adapters.mergeIntoBase(id);
      const during = await onDisk();
      const hash = await digest(file);
      await discard();
      return { message: error.message, during: during.length, hash, after: await onDisk(), gone: (await caught(() => file.arrayBuffer())).name };
    }""")
    assert (found["message"], found["during"], found["after"]) == ("enough", 1, [])
    assert found["hash"] == expected(shipped(), ("a", "mine"))[0] and found["gone"]


def test_a_merge_of_adapters_is_stopped_and_the_library_is_free_again(model):
    found = model.evaluate("""async () => {
      const ids = [await kept(0, "mine"), await kept(1, "yours")], stop = new AbortController(), events = [];
      const onProgress = (event) => { events.push(event.loaded); if (event.loaded === 1) stop.abort(new RangeError("enough")); };
      const error = await caught(() => session.adapters.merge(ids, { strategy: "ties", signal: stop.signal, onProgress }));
      await session.adapters.rename(ids[0], "other");
      return { message: error.message, events, names: (await session.adapters.saved()).map(({ name }) => name).sort() };
    }""")
    assert found["message"] == "enough" and found["names"] == ["other", "yours"] and max(found["events"]) < 24


def test_a_file_of_a_tab_that_was_closed_goes_when_the_next_one_starts(model, context, site):
    model.evaluate("async () => { await session.adapters.mergeIntoBase(await kept(0, 'mine')); }")
    url = model.url
    other = context.new_page()
    prepared(other, url.removesuffix("blank.html"))
    give(other, shipped())
    other.evaluate("async () => { await make().listModels(); }")
    assert len(other.evaluate("onDisk()")) == 1, "its page is open"
    model.close()
    other.evaluate("""async () => {
      await until(async () => { await make().listModels(); loader.dispose(); return !(await onDisk()).length; });
    }""")


def test_without_room_it_is_refused_before_the_first_byte(playwright, tmp_path, site):
    """In a profile of its own: a private window counts no bytes."""
    browser = playwright.chromium.launch_persistent_context(
        tmp_path, executable_path=chromium_path(), args=launch_args()
    )
    page = browser.new_page()
    prepared(page, site())
    page.evaluate(f"async () => {{ window.session = await make().load('{MODEL}'); }}")
    give(page, shipped(), "a")
    page.evaluate("async () => { window.id = await kept(0, 'mine'); }")
    usage = page.evaluate("async () => (await navigator.storage.estimate()).usage")
    limit = {"origin": page.evaluate("location.origin"), "quotaSize": usage + 4_000_000}
    browser.new_cdp_session(page).send("Storage.overrideQuotaForOrigin", limit)
    found = page.evaluate("""async () => {
      const written = [];
      const onProgress = ({ phase, loaded }) => { if (phase === "write") written.push(loaded); };
      return { ...(await caught(() => session.adapters.mergeIntoBase(id, { onProgress }))), written };
    }""")
    assert found["code"] == "quota_exceeded" and found["details"]["needed"] > 7_000_000 and found["written"] == []
    assert page.evaluate("onDisk()") == []
    browser.close()


REFUSED = {
    "a type that is not written": ("tensor_type_unsupported", "mergeIntoBase(await kept(0, 'mine'), { type: 'q4_k' })"),
    "an adapter nobody kept": ("adapter_not_found", "mergeIntoBase('none')"),
    "none": ("adapter_not_found", "mergeIntoBase([])"),
    "an unknown strategy": ("invalid_option", "mergeIntoBase(await kept(0, 'mine'), { strategy: 'best' })"),
    "no text": ("training_data_too_little", "mergeIntoBase(await kept(0, 'mine'), { evaluate: [] })"),
}


def test_what_cannot_be_is_refused_by_name_and_leaves_nothing(model):
    found = {
        why: model.evaluate(f"() => caught(async () => session.adapters.{work})") for why, (_, work) in REFUSED.items()
    }
    assert {why: error["code"] for why, error in found.items()} == {why: code for why, (code, _) in REFUSED.items()}
    assert 'type: "q8_0"' in found["a type that is not written"]["message"] and model.evaluate("onDisk()") == []


def test_a_page_of_another_origin_gets_the_file_too(page, dist, tmp_path):
    (tmp_path / "index.html").write_text(PAGE)
    with hosted(dist, host="127.0.0.1") as engine, hosted(tmp_path, isolated=False) as shop:
        page.goto(shop)
        page.evaluate(ADD, engine + "edgenet.global.js")
        page.evaluate(HELP, [base64.b64encode(b"GGUF").decode(), "none.gguf"])
        page.evaluate(
            f"async () => {{ window.loader = new edgenet.ModelLoader(); window.session = await loader.load('{MODEL}'); }}"
        )
        give(page, shipped(), "a")
        found = page.evaluate("""async () => {
          const merged = await session.adapters.mergeIntoBase(await kept(0, "mine"));
          const hash = await digest(merged.file);
          const other = await loader.load({ file: merged.file });
          const { tokens: drawn } = await other.complete({ tokens }, { temperature: 0, maxTokens: 4 });
          await merged.discard();
          return { hash, drawn: drawn.length };
        }""")
    assert found == {"hash": expected(shipped(), ("a", "mine"))[0], "drawn": 4}


def test_firefox_writes_the_same_file_and_stops_as_well(firefox, site):
    url = site()
    firefox.open(f"{url}licenses.txt")
    given = folder(random_adapter(header_of(shipped()), "a"))
    firefox.evaluate(f"({PRELUDE})()")
    firefox.evaluate(f"({KIT})({json.dumps([TOKENS, TEXT, given])}) && 0")
    found = firefox.evaluate(f"""(async () => {{
      window.session = await make({{ urls: {{ base: {json.dumps(url)} }} }}).load("{MODEL}");
      const id = await kept(0, "mine"), stop = new AbortController();
      const onProgress = ({{ phase, loaded }}) => {{ if (phase === "write" && loaded > 1e6) stop.abort(new RangeError("enough")); }};
      const {{ message }} = await caught(() => session.adapters.mergeIntoBase(id, {{ signal: stop.signal, onProgress }}));
      await until(async () => !(await onDisk()).length);
      const {{ file, discard }} = await session.adapters.mergeIntoBase(id);
      const answer = {{ message, hash: await digest(file), during: (await onDisk()).length }};
      const other = await loader.load({{ file }});
      const {{ tokens: drawn }} = await other.complete({{ tokens }}, {{ temperature: 0, maxTokens: 4 }});
      await discard();
      return {{ ...answer, drawn: drawn.length, after: await onDisk() }};
    }})()""")
    sha, _ = expected(shipped(), ("a", "mine"))
    assert found == {"message": "enough", "hash": sha, "during": 1, "drawn": 4, "after": []}
