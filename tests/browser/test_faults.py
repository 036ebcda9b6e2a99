"""What goes wrong in the world: each fault is met, said, and leaves nothing false behind."""

import random

import pytest

from tests.browser.conftest import Loader
from tests.browser.fakemodel import CHUNK, Signer
from tests.browser.test_loader import pulled

pytestmark = pytest.mark.browser
SIZE = 2 << 20
TOTAL = SIZE + 10_000


def test_a_flipped_byte_from_the_first_source_is_fetched_from_the_second_and_said(loader, fake):
    manifest = fake.add()
    fake.server.fault(fake.path("fake"), "flip", 5 * CHUNK + 7)
    page = loader()
    page.ok("pull", id="fake")
    pulled(page, manifest)
    (said,) = page.events("fallback")
    assert said["code"] == "hash_mismatch" and "chunk 5" in said["reason"] and fake.mirror.url in said["to"]
    (asked,) = fake.mirror.asked(fake.mirror_path("fake"))
    assert asked.range == (5 * CHUNK, 6 * CHUNK - 1)  # that chunk and no more


def test_a_source_with_nothing_but_wrong_bytes_is_left_soon(loader, fake):
    manifest = fake.add()
    fake.server.fault(fake.path("fake"), "flip", list(range(0, SIZE, CHUNK)))
    page = loader()
    page.ok("pull", id="fake")
    pulled(page, manifest)
    assert [e["code"] for e in page.events("fallback")] == ["hash_mismatch"]


ALL_BAD = [
    ("flip", list(range(0, SIZE, CHUNK)), "hash_mismatch", "other bytes"),
    ("status", 404, "http_status", "no such file"),
    ("resize", CHUNK // 2, "size_mismatch", "a shorter file"),
]


@pytest.mark.parametrize(("kind", "value", "code", "why"), ALL_BAD, ids=[row[3] for row in ALL_BAD])
def test_when_all_sources_are_bad_the_error_names_each_and_nothing_is_stored(loader, fake, kind, value, code, why):
    manifest = fake.add()
    for server, path in ((fake.server, fake.path("fake")), (fake.mirror, fake.mirror_path("fake"))):
        server.fault(path, kind, value)
    page = loader()
    error = page.fails("pull", id="fake")
    assert error["code"] == "all_sources_failed"
    assert [a["code"] for a in error["details"]["attempts"]] == [code, code]
    assert manifest["artifacts"]["model"]["merkleRoot"] not in page.do("stored")
    assert page.ok("isCached", id="fake") is False


def test_a_first_source_with_a_longer_file_is_left_for_the_second(loader, fake):
    manifest = fake.add()
    fake.server.fault(fake.path("fake"), "resize", SIZE + 1)
    page = loader()
    page.ok("pull", id="fake")
    pulled(page, manifest)
    assert [e["code"] for e in page.events("fallback")] == ["size_mismatch"]


def test_a_source_that_answers_another_range_is_not_believed(loader, fake):
    manifest = fake.add()
    path = fake.path("fake")
    fake.server.fault(path, "cut", 10 * CHUNK, times=1)
    fake.server.fault(path, "wrong_range", CHUNK)
    page = loader(download={"parallel": 1})
    page.ok("pull", id="fake")
    pulled(page, manifest)


KILLS = random.Random(7).sample(range(SIZE), 20)


# One connection; bits set after every chunk, so that a kill finds some of them set.
EAGER = {"download": {"parallel": 1}, "cache": {"commit": {"bytes": 1, "ms": 0}}}


def kill_and_resume(fake, killable, after, round_):
    manifest = fake.add()
    root = manifest["artifacts"]["model"]["merkleRoot"]
    path = fake.path("fake")
    fake.server.fault(path, "slow", 0.01)  # the browser keeps up: the kill finds it anywhere between two bits
    gate = fake.server.gate(path, after)
    page, kill = killable(f"profile{round_}")
    Loader(page, fake.server.url + "/", **EAGER).begin("pull", id="fake")
    assert gate.reached.wait(90)
    kill()
    fake.server.reset()
    page, kill = killable(f"profile{round_}")
    second = Loader(page, fake.server.url + "/", **EAGER)
    record = second.do("record", f"artifact:{root}")
    held = sum(byte.bit_count() for byte in (record or {"have": []})["have"])
    second.ok("pull", id="fake")
    pulled(second, manifest)
    assert sum(entry.sent for entry in fake.server.asked(path)) == SIZE - held * CHUNK
    kill()
    return held


@pytest.mark.parametrize("after", KILLS[:3])
def test_a_browser_killed_in_a_download_fetches_only_the_rest_when_it_comes_back(fake, killable, after):
    kill_and_resume(fake, killable, after, 0)


@pytest.mark.long
def test_twenty_kills_at_random_points_lose_nothing_that_was_kept(fake, killable):
    held = [kill_and_resume(fake, killable, after, n) for n, after in enumerate(KILLS)]
    assert sum(held) > 20  # else nothing was resumed
    print(f"\n20 kills; chunks kept of {SIZE // CHUNK}: {held}")


def test_chunks_kept_before_a_kill_are_not_fetched_again(fake, killable):
    manifest = fake.add()
    root = manifest["artifacts"]["model"]["merkleRoot"]
    path = fake.path("fake")
    gate = fake.server.gate(path, 20 * CHUNK)
    page, kill = killable()
    first = Loader(page, fake.server.url + "/", **EAGER)
    first.begin("pull", id="fake")
    assert gate.reached.wait(90)
    # All of the first 16 chunks are verified, flushed and marked.
    marked = "(key) => harness.record(key).then((r) => r?.have[0] === 255 && r.have[1] === 255)"
    page.wait_for_function(marked, arg=f"artifact:{root}")
    first.do("setRecord", "test", 1)  # a durable write: what was written before it is on disk too
    kill()
    fake.server.reset()
    page, kill = killable()
    second = Loader(page, fake.server.url + "/", **EAGER)
    second.ok("pull", id="fake")
    pulled(second, manifest)
    assert all(entry.range and entry.range[0] >= 16 * CHUNK for entry in fake.server.asked(path))
    kill()


def test_verify_finds_and_repairs_bytes_that_changed_behind_its_back(loader, fake):
    manifest = fake.add()
    artifact = manifest["artifacts"]["model"]
    page = loader()
    page.ok("pull", id="fake")
    page.do("damage", artifact["merkleRoot"], 9 * CHUNK + 1)
    page.do("damage", artifact["merkleRoot"], SIZE - 1)
    assert page.do("hash", artifact["merkleRoot"])["result"] != artifact["sha256"]
    fake.server.reset()
    answer = page.ok("verify", id="fake")
    assert [d["chunk"] for d in answer["damaged"]] == [9, SIZE // CHUNK - 1] and answer["repaired"] == 2
    pulled(page, manifest)
    assert sum(entry.sent for entry in fake.server.asked(fake.path("fake"))) == 2 * CHUNK
    assert page.ok("verify", id="fake")["damaged"] == []


def test_damage_that_cannot_be_repaired_makes_the_model_uncached(loader, fake):
    artifact = fake.add()["artifacts"]["model"]
    page = loader()
    page.ok("pull", id="fake")
    page.do("damage", artifact["merkleRoot"], 1)
    fake.server.fault(fake.path("fake"), "status", 404)
    fake.mirror.fault(fake.mirror_path("fake"), "status", 404)
    assert page.fails("verify", id="fake")["code"] == "all_sources_failed"
    assert page.ok("isCached", id="fake") is False


def test_a_file_that_the_browser_cleared_is_fetched_again(loader, fake):
    manifest = fake.add()
    page = loader()
    page.ok("pull", id="fake")
    page.do("deleteFile", manifest["artifacts"]["model"]["merkleRoot"])
    assert page.ok("isCached", id="fake") is False
    page.ok("pull", id="fake")
    pulled(page, manifest)


def alter(path, value):
    def change(manifest):
        *parents, last = path
        for key in parents:
            manifest = manifest[key]
        manifest[last] = value(manifest[last]) if callable(value) else value

    return change


REFUSED = [
    (alter(["name"], "another"), "signature_invalid", "a field changed after signing"),
    (alter(["schemaVersion"], 2), "schema_version_unsupported", "a schema version of the future"),
    (alter(["artifacts", "model", "filename"], "../model.bin"), "unsafe_path", "a path that climbs"),
    (alter(["artifacts", "model", "size"], lambda size: size + CHUNK), "sizes_disagree", "sizes that disagree"),
    (lambda manifest: manifest.pop("signature"), "signature_missing", "no signature"),
]


@pytest.mark.parametrize(("change", "code", "why"), REFUSED, ids=[row[2] for row in REFUSED])
def test_a_bad_manifest_is_refused_before_any_byte_is_fetched(loader, fake, change, code, why):
    fake.add(change=change)
    page = loader()
    assert page.fails("pull", id="fake")["code"] == code
    assert fake.server.asked(fake.path("fake")) == [] and page.do("keys", "model:") == []


KEYS = [
    (lambda: Signer(end=-60), True, "key_expired", "an expired key"),
    (lambda: Signer(start=60), True, "key_not_yet_valid", "a key of tomorrow"),
    (lambda: Signer(), False, "key_untrusted", "a stranger's key"),
]


@pytest.mark.parametrize(("make", "listed", "code", "why"), KEYS, ids=[row[3] for row in KEYS])
def test_a_manifest_by_a_key_that_may_not_sign_is_refused(loader, fake, make, listed, code, why):
    signer = make()
    if listed:
        fake.trust(fake.signer, signer)
    fake.add(signer=signer)
    assert loader().fails("pull", id="fake")["code"] == code


def test_an_accepted_model_outlives_its_expiry_with_a_notice(loader, fake, page):
    fake.add(expiresAt="2999-01-01T00:00:00Z")
    first = loader()
    first.ok("pull", id="fake")
    record = first.do("record", "model:fake@1.0.0")
    record["manifest"]["expiresAt"] = "2020-01-01T00:00:00Z"
    first.do("setRecord", "model:fake@1.0.0", record)
    again = loader()
    assert [n["code"] for n in again.ok("pull", id="fake", version="1.0.0")["notices"]] == ["manifest_expired"]


def test_a_newer_signed_revocation_stops_an_accepted_model_and_an_older_list_does_not_free_it(loader, fake):
    fake.add()
    loader().ok("pull", id="fake")
    fake.revoke(2, manifests=[{"id": "fake", "version": "1.0.0"}])
    assert loader().fails("pull", id="fake")["code"] == "manifest_revoked"
    fake.revoke(1)
    page = loader()
    assert page.fails("pull", id="fake")["code"] == "manifest_revoked"
    fake.revoke(3, signer=Signer())
    assert loader().fails("pull", id="fake")["code"] == "manifest_revoked"


def test_a_refused_quota_is_an_error_with_figures_and_leaves_nothing(loader, fake, page, context):
    fake.add()
    cdp = context.new_cdp_session(page)
    one = loader()
    cdp.send("Storage.overrideQuotaForOrigin", {"origin": fake.server.url, "quotaSize": 1 << 20})
    error = one.fails("pull", id="fake")
    assert error["code"] == "quota_exceeded" and error["details"]["needed"] == TOTAL
    assert str(TOTAL) in error["message"]
    assert one.do("stored") == []
    cdp.send("Storage.overrideQuotaForOrigin", {"origin": fake.server.url})
    one.ok("pull", id="fake")


def test_a_refused_quota_first_takes_room_from_models_that_are_not_in_use(loader, fake, page, context):
    fake.add("old", seed=20)
    fake.add()
    cdp = context.new_cdp_session(page)
    one = loader()
    one.ok("pull", id="old")
    cdp.send("Storage.overrideQuotaForOrigin", {"origin": fake.server.url, "quotaSize": 3 << 20})
    one.ok("pull", id="fake")
    assert [m["id"] for m in one.ok("cached")] == ["fake"]


def test_two_tabs_share_one_download_and_show_the_same_progress(loader, fake, context):
    manifest = fake.add()
    path = fake.path("fake")
    gate = fake.server.gate(path, SIZE // 2)
    one, two = loader(), loader(context.new_page())
    one.begin("pull", id="fake")
    assert gate.reached.wait(90)
    two.begin("pull", id="fake")
    two.page.wait_for_function("harness.events.some((e) => e.phase === 'download')")
    gate.opened.set()
    assert "result" in one.finished() and "result" in two.finished()
    assert sum(entry.sent for entry in fake.server.asked(path)) == SIZE
    assert two.events("progress")[-1]["loaded"] > SIZE // 2
    pulled(two, manifest)


def test_when_the_downloading_tab_closes_the_waiting_one_goes_on(loader, fake, context):
    manifest = fake.add()
    path = fake.path("fake")
    gate = fake.server.gate(path, SIZE // 2)
    one, two = loader(context.new_page()), loader()
    one.begin("pull", id="fake")
    assert gate.reached.wait(90)
    two.begin("pull", id="fake")
    two.page.wait_for_function("harness.events.some((e) => e.phase === 'download')")
    one.page.close()
    fake.server.reset()
    assert "result" in two.finished()
    pulled(two, manifest)


def test_a_loader_worker_that_dies_rejects_what_waits_and_a_new_one_goes_on(loader, fake):
    manifest = fake.add()
    gate = fake.server.gate(fake.path("fake"), SIZE // 2)
    page = loader()
    page.begin("pull", id="fake")
    assert gate.reached.wait(90)
    page.do("stop")
    assert page.finished()["error"]["code"] == "worker_died"
    fake.server.reset()
    page.page.evaluate("harness.start()")
    page.ok("pull", id="fake")
    pulled(page, manifest)


def test_without_a_network_a_cached_model_is_there_and_an_unknown_one_says_offline(loader, fake, context):
    manifest = fake.add()
    fake.add("other", seed=9)
    page = loader()
    page.ok("pull", id="fake")
    page.do("stop")
    page.page.evaluate("fetch('workers/loader.js', {cache: 'force-cache'}).then((r) => r.text())")
    page.page.evaluate("harness.start()")
    context.set_offline(True)
    assert page.ok("pull", id="fake")["state"] == "signed"
    pulled(page, manifest)
    assert page.fails("pull", id="other")["code"] in ("offline", "network")


def test_a_model_from_an_ipfs_gateway_is_read_by_its_cid(loader, fake):
    sources = [{"type": "ipfs", "priority": 1, "gateways": [f"{fake.mirror.url}/ipfs/"]}]
    manifest = fake.add(sources=sources)
    for artifact in manifest["artifacts"].values():
        data = fake.server.files[fake.path("fake", artifact["filename"])]
        fake.mirror.files[f"/ipfs/{artifact['cid']}"] = data
    page = loader()
    page.ok("pull", id="fake")
    pulled(page, manifest)
    assert fake.server.asked(fake.path("fake")) == []
