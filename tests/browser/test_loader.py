"""The loader worker on its good days, and with careless servers."""

import json

import pytest

from tests.browser.conftest import Loader

pytestmark = pytest.mark.browser
SIZE = 2 << 20


def pulled(loader, manifest):
    """Asserts that every artifact is stored with the bytes that the manifest names."""
    for artifact in manifest["artifacts"].values():
        assert loader.do("hash", artifact["merkleRoot"]) == {"result": artifact["sha256"]}


def test_a_pulled_model_is_stored_whole_and_found_again_without_a_request(loader, fake):
    manifest = fake.add()
    page = loader()
    assert page.ok("isCached", id="fake") is False
    assert page.ok("pull", id="fake")["state"] == "signed"
    pulled(page, manifest)
    before = len(fake.server.asked(fake.path("fake")))
    page.ok("pull", id="fake")
    assert page.ok("isCached", id="fake", version="1.0.0") is True
    assert len(fake.server.asked(fake.path("fake"))) == before == 1


def test_progress_is_one_true_total_that_never_falls(loader, fake):
    manifest = fake.add()
    page = loader()
    page.ok("pull", id="fake")
    steps = [e for e in page.events() if e["status"] in ("progress", "done")]
    total = sum(a["size"] for a in manifest["artifacts"].values())
    assert {e["total"] for e in steps} == {total}
    assert [e["loaded"] for e in steps] == sorted(e["loaded"] for e in steps)
    assert steps[-1]["loaded"] == total and steps[-1]["progress"] == 100
    assert sum(e["status"] == "done" for e in steps) == len(manifest["artifacts"])


CARELESS = [
    ("ignore_range", None, "answers 200 with the whole file"),
    ("gzip", None, "packs every answer"),
    ("cut", 300_000, "cuts every connection inside a chunk"),
    ("status", 503, "is busy for two requests"),
]


@pytest.mark.parametrize(("kind", "value", "why"), CARELESS, ids=[row[2] for row in CARELESS])
def test_a_careless_server_is_still_read_to_the_end(loader, fake, kind, value, why):
    manifest = fake.add()
    fake.server.fault(fake.path("fake"), kind, value, times=2 if kind == "status" else None)
    page = loader()
    page.ok("pull", id="fake")
    pulled(page, manifest)
    assert page.events("fallback") == []
    assert fake.mirror.log == []


def test_a_resumed_download_from_a_server_that_ignores_range_reads_from_the_start(loader, fake):
    manifest = fake.add()
    path = fake.path("fake")
    fake.server.fault(path, "cut", 1 << 20, times=1)
    fake.server.fault(path, "ignore_range")
    page = loader(download={"parallel": 1})
    page.ok("pull", id="fake")
    pulled(page, manifest)
    assert [e.status for e in fake.server.asked(path)] == [200, 200]


def test_a_redirect_is_followed(loader, fake):
    manifest = fake.add()
    fake.server.fault(fake.path("fake"), "redirect", f"{fake.mirror.url}{fake.mirror_path('fake')}")
    page = loader()
    page.ok("pull", id="fake")
    pulled(page, manifest)


def test_a_long_list_of_chunk_hashes_comes_from_its_own_file(loader, fake):
    manifest = fake.add(size=(1 << 20) + (200 << 10), chunk=1024)
    assert "leavesFile" in manifest["artifacts"]["model"]
    page = loader()
    page.ok("pull", id="fake")
    pulled(page, manifest)


def test_any_part_of_a_stored_file_can_be_read(loader, fake):
    artifact = fake.add()["artifacts"]["model"]
    page = loader()
    page.ok("pull", id="fake")
    data = fake.server.files[fake.path("fake")]
    for offset, length in [(0, 1), (65_535, 2), (SIZE - 3, 3), (100_000, 200_000)]:
        part = page.do("part", artifact["merkleRoot"], offset, length)
        assert part == {"result": list(data[offset : offset + length])}
    assert "error" in page.do("part", artifact["merkleRoot"], SIZE - 1, 2)


def test_a_cancelled_pull_stops_and_the_next_one_fetches_only_the_rest(loader, fake):
    manifest = fake.add()
    path = fake.path("fake")
    gate = fake.server.gate(path, SIZE // 2)
    page = loader(download={"parallel": 1})
    page.begin("pull", id="fake")
    assert gate.reached.wait(90)
    page.page.wait_for_function("harness.events.some((e) => e.loaded > 500000)")
    page.do("cancel")
    assert page.finished()["error"]["name"] == "AbortError"
    page.ok("cached")  # answered after the cancel was, so the request has been given up before its gate opens
    fake.server.reset()
    page.ok("pull", id="fake")
    pulled(page, manifest)
    (rest,) = fake.server.asked(path)
    assert rest.range[0] >= 500_000 // 65_536 * 65_536


def test_models_that_share_bytes_share_the_file(loader, fake):
    fake.add("first")
    fake.add("second")
    page = loader()
    page.ok("pull", id="first")
    page.ok("pull", id="second")
    assert fake.server.asked(fake.path("second")) == []
    page.ok("remove", id="first")
    assert page.ok("isCached", id="second") is True


def test_the_model_used_longest_ago_makes_room_but_never_one_in_use(loader, fake):
    manifests = {name: fake.add(name, seed=10 * seed) for seed, name in enumerate(["old", "used", "new"])}
    page = loader(cache={"maxSize": 5 << 20})
    page.ok("pull", id="old")
    page.ok("pull", id="used")
    page.do("use", manifests["old"]["artifacts"]["model"]["merkleRoot"])
    page.ok("pull", id="new")
    assert {m["id"] for m in page.ok("cached")} == {"old", "new"}
    assert [e["id"] for e in page.events("notice") if e["code"] == "model_evicted"] == ["used"]


def test_a_model_larger_than_the_limit_is_refused_with_the_figures(loader, fake):
    fake.add()
    page = loader(cache={"maxSize": 1 << 20})
    error = page.fails("pull", id="fake")
    assert error["code"] == "quota_exceeded"
    assert error["details"]["needed"] == SIZE + 10_000 and error["details"]["available"] == 1 << 20
    assert page.do("stored") == []


def test_clear_removes_every_byte(loader, fake):
    fake.add()
    page = loader()
    page.ok("pull", id="fake")
    assert page.ok("usage")["bytes"] == SIZE + 10_000
    page.ok("clear")
    assert page.do("stored") == [] and page.do("keys", "artifact:") == []
    assert page.ok("usage")["bytes"] == 0


def test_compatibility_answers_before_any_byte_of_the_weights(loader, fake):
    fake.add(requirements={"minMemory": 1 << 50, "minStorage": 1, "simdRequired": True, "webgpuOptional": True})
    page = loader()
    answer = page.ok("compatibility", id="fake")
    checks = {check["name"]: check for check in answer["checks"]}
    assert answer["ok"] is False and checks["memory"]["ok"] is False
    assert checks["storage"]["needed"] == SIZE + 10_000 and checks["simd"]["found"] is True
    assert fake.server.asked(fake.path("fake")) == []


def test_the_newest_version_is_taken_unless_one_is_named(loader, fake):
    fake.add(version="1.2.0", seed=3)
    fake.add(version="1.10.0", seed=5)
    page = loader()
    assert page.ok("manifest", id="fake")["manifest"]["version"] == "1.10.0"
    assert page.ok("manifest", id="fake", version="1.2.0")["manifest"]["version"] == "1.2.0"
    assert page.fails("manifest", id="fake", version="9.9.9")["code"] == "model_not_found"
    assert [row["version"] for row in page.ok("models", type="embedding")] == ["1.10.0", "1.2.0"], (
        "the one that is used comes first"
    )


PLACES = ["idb", "memory"]


@pytest.mark.parametrize("place", PLACES)
def test_without_a_file_store_bytes_go_to_the_next_best_place(loader, fake, place):
    manifest = fake.add(size=300_000)
    page = loader(cache={"places": [place]})
    page.ok("pull", id="fake")
    assert page.do("record", f"artifact:{manifest['artifacts']['model']['merkleRoot']}")["place"] == place
    pulled(page, manifest)
    assert page.ok("verify", id="fake")["damaged"] == []
    page.ok("remove", id="fake")
    assert page.do("keys", "chunk:") == []


def test_where_the_browser_refuses_all_storage_the_model_lives_in_memory_and_that_is_said(
    persistent_context, fake, tmp_path
):
    preferences = tmp_path / "blocked" / "Default" / "Preferences"
    preferences.parent.mkdir(parents=True)
    preferences.write_text(json.dumps({"profile": {"default_content_setting_values": {"cookies": 2}}}))
    manifest = fake.add(size=300_000)
    page = Loader(persistent_context("blocked").new_page(), fake.server.url + "/")
    refused = page.page.evaluate("navigator.storage.getDirectory().then(() => 'allowed', (error) => error.name)")
    assert refused != "allowed"  # else this test tests nothing
    page.ok("pull", id="fake")
    assert [e["code"] for e in page.events("fallback")] == ["storage_memory"]
    pulled(page, manifest)
    assert page.ok("isCached", id="fake") is True
