"""Kernel packs in Python: what is refused and why, health check, upgrade and rollback. The host is wasmtime and a folder of files."""

import asyncio
import base64
import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cryptography.exceptions import InvalidSignature as BadSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from edgenet import errors
from edgenet.host.wasmtime_engine import WasmtimeRuntime
from edgenet.kernels.ext import ExtCall, ext_cases
from edgenet.kernels.manager import KernelManager, Policy, load_pack
from edgenet.kernels.pack import version_key
from edgenet.trust import Revocations, parse_trust

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import kernel_pack  # noqa: E402

NOW = 1_750_000_000  # June 2025
X = {"x": np.array([[3, 4]], np.float32), "rows": 1, "d": 2}


async def verify(public_key, signature, message):
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except BadSignature:
        return False
    return True


def policy(**change):
    base = Policy(parse_trust(kernel_pack.trust_document()), "0.5.0", verify, lambda: NOW)
    return replace(base, **change)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    out = kernel_pack.write_pack(tmp_path_factory.mktemp("pack"))
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def runtime():
    with WasmtimeRuntime(tick_ms=2, budget=1000) as it:
        yield it


def reader(files):
    def read(path):
        if path not in files:
            raise FileNotFoundError(path)
        return files[path]

    return read


def edited(files, change):
    """The pack with its manifest changed by `change(document)` and signed again."""
    document = json.loads(files["kernels.json"])
    change(document)
    raw = json.dumps(document).encode()
    return {**files, "kernels.json": raw, "kernels.json.sig": kernel_pack.sign(raw)}


def load(files, runtime, **change):
    return asyncio.run(load_pack(reader(files), policy(**change), runtime))


def test_a_good_pack_is_verified_health_checked_and_runs(files, runtime):
    pack = load(files, runtime)
    assert pack.checked > 60 and pack.builds["engine"].path == "engine.relaxed.wasm"
    assert np.allclose(pack.engine.run("normalize", **X)["y"], [[0.6, 0.8]])
    call = ext_cases()[1]
    assert pack.extensions["rmsnorm_f32"].call(call)[0] == 0


def test_without_relaxed_simd_the_plain_build_is_chosen(files, runtime):
    class Plain:
        features = frozenset({"simd"})
        engine, extension = runtime.engine, runtime.extension

    assert load(files, Plain()).builds["engine"].path == "engine.simd.wasm"


def flip(data, at=100):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
REFUSED_FILES = [
    (
        "a manifest changed after signing",
        lambda f: {**f, "kernels.json": f["kernels.json"] + b" "},
        errors.InvalidSignature,
    ),
    (
        "a signature by another key",
        lambda f: {**f, "kernels.json.sig": base64.b64encode(OTHER.sign(f["kernels.json"]))},
        errors.InvalidSignature,
    ),
    ("a signature that is not base64", lambda f: {**f, "kernels.json.sig": b"?"}, errors.PackKeyError),
    ("no signature", lambda f: {n: d for n, d in f.items() if n != "kernels.json.sig"}, errors.PackIoError),
    (
        "a module with one bit flipped",
        lambda f: {**f, "engine.relaxed.wasm": flip(f["engine.relaxed.wasm"])},
        errors.PackHashMismatch,
    ),
    (
        "an extension module cut short",
        lambda f: {**f, "ext/rmsnorm_f32.wasm": f["ext/rmsnorm_f32.wasm"][:-1]},
        errors.PackHashMismatch,
    ),
    ("health vectors changed", lambda f: {**f, "health.json": f["health.json"] + b" "}, errors.PackHashMismatch),
    (
        "a module that is missing",
        lambda f: {n: d for n, d in f.items() if n != "ext/rmsnorm_f32.wasm"},
        errors.PackIoError,
    ),
    ("no kernels", lambda f: edited(f, lambda d: d.update(kernels=[])), errors.InvalidPack),
    (
        "a path that leaves the pack",
        lambda f: edited(f, lambda d: d["modules"]["engine"][0].update(path="../x.wasm")),
        errors.InvalidPack,
    ),
    (
        "a kernel whose hash is no build's",
        lambda f: edited(f, lambda d: d["kernels"][0].update(hash="sha256:" + "0" * 64)),
        errors.InvalidPack,
    ),
    ("an id listed twice", lambda f: edited(f, lambda d: d["kernels"].append(d["kernels"][0])), errors.InvalidPack),
    (
        "an unknown dtype",
        lambda f: edited(f, lambda d: d["kernels"][0]["inputs"][0].update(dtype="f99")),
        errors.InvalidPack,
    ),
    ("modules that are no lists", lambda f: edited(f, lambda d: d.update(modules={"engine": 3})), errors.InvalidPack),
    (
        "signed, but not JSON",
        lambda f: {**f, "kernels.json": b"x", "kernels.json.sig": kernel_pack.sign(b"x")},
        errors.InvalidPack,
    ),
    (
        "a runtime that is too old",
        lambda f: edited(f, lambda d: d.update(min_runtime_version="0.5.1")),
        errors.RuntimeTooOld,
    ),
    (
        "a runtime that is too new",
        lambda f: edited(f, lambda d: d.update(max_runtime_version="0.4.9")),
        errors.RuntimeTooNew,
    ),
    (
        "a feature nobody has",
        lambda f: edited(f, lambda d: [b.update(features=["fp16"]) for b in d["modules"]["engine"]]),
        errors.MissingFeature,
    ),
]


@pytest.mark.parametrize("reason,change,error", REFUSED_FILES, ids=[r[0] for r in REFUSED_FILES])
def test_a_pack_is_refused_for(files, runtime, reason, change, error):
    with pytest.raises(error):
        load(change(files), runtime)


REFUSED_POLICY = [
    (
        "no key that may sign kernels",
        {"trust": parse_trust(kernel_pack.trust_document(("sign-manifest",)))},
        errors.NoTrustedKey,
    ),
    ("a key that has expired", {"now": lambda: 5e9}, errors.NoTrustedKey),
    (
        "a key that was revoked",
        {"revocations": Revocations(1, frozenset(parse_trust(kernel_pack.trust_document()).keys))},
        errors.NoTrustedKey,
    ),
    ("an allowlist that lacks it", {"allowlist": {"version": 1, "kernels": {}}}, errors.NotInAllowlist),
    ("a runtime whose version is no version", {"runtime_version": "new"}, errors.VersionIncompatible),
]


@pytest.mark.parametrize("reason,change,error", REFUSED_POLICY, ids=[r[0] for r in REFUSED_POLICY])
def test_a_pack_is_refused_under(files, runtime, reason, change, error):
    with pytest.raises(error):
        load(files, runtime, **change)


@pytest.mark.parametrize("runtime_version", ["0.1.0", "0.9.9", "0.9.9-rc.1"])
def test_version_bounds_are_inclusive(files, runtime, runtime_version):
    assert load(files, runtime, runtime_version=runtime_version).manifest.version == "1.0.0"


def test_an_allowlist_that_names_every_kernel_lets_the_pack_in(files, runtime):
    document = json.loads(files["kernels.json"])
    hashes = {
        k["id"]: [b["hash"].upper().replace("SHA256", "sha256") for b in document["modules"][k["module"]]]
        for k in document["kernels"]
    }
    assert load(files, runtime, allowlist={"version": 1, "kernels": hashes}).checked


def test_versions_sort_by_semver_precedence():
    order = [
        "0.9.9",
        "1.0.0-alpha",
        "1.0.0-alpha.1",
        "1.0.0-alpha.beta",
        "1.0.0-beta.2",
        "1.0.0-beta.11",
        "1.0.0-rc.1",
        "1.0.0",
        "1.0.1",
        "1.10.0",
    ]
    assert sorted(reversed(order), key=version_key) == order


# --- health check, upgrade, rollback ---------------------------------------------------------------------------------
def with_module(files, name, path, data):
    """The pack with one module replaced by other bytes, hashes right, signed again: only the health check can find out."""
    digest = "sha256:" + hashlib.sha256(data).hexdigest()

    def change(document):
        for entry in [*document["modules"][name], *[k for k in document["kernels"] if k["module"] == name]]:
            if entry["path"] == path:
                entry.update(hash=digest, **({"size": len(data)} if "size" in entry else {}))

    return {**edited(files, change), path: data}


SICK = [
    ("a kernel that never ends", "runaway"),
    ("a kernel that traps", "unreachable"),
    ("a kernel that answers an unknown code", "wrong_code"),
]


@pytest.mark.parametrize("reason,name", SICK, ids=[s[0] for s in SICK])
def test_health_check_stops(files, reason, name):
    sick = with_module(files, "rmsnorm_f32", "ext/rmsnorm_f32.wasm", files[f"bad/{name}.wasm"])
    sick = edited(sick, lambda d: [k.update(resource_limits={"max_epoch_ticks": 20}) for k in d["kernels"]])
    with WasmtimeRuntime(tick_ms=2) as runtime, pytest.raises(errors.HealthCheckFailed):
        load(sick, runtime)


def test_health_check_finds_wrong_numbers(files, runtime):
    vectors = json.loads(files["health.json"])
    first = next(v for v in vectors["vectors"] if v["kernel"] == "normalize" and v["code"] == 0 and v["outputs"]["y"])
    y = np.frombuffer(base64.b64decode(first["outputs"]["y"]), "<f4") + np.float32(1e-3)
    first["outputs"]["y"] = base64.b64encode(y.tobytes()).decode()
    data = json.dumps(vectors).encode()
    other = edited(
        {**files, "health.json": data},
        lambda d: d["health"].update(hash="sha256:" + hashlib.sha256(data).hexdigest(), size=len(data)),
    )
    with pytest.raises(errors.HealthCheckFailed, match="normalize"):
        load(other, runtime)


def test_a_failed_upgrade_keeps_the_active_pack_and_says_so_once(files, runtime):
    events = []
    manager = KernelManager(policy(), runtime, events.append)
    first = asyncio.run(manager.upgrade(reader(files)))
    with pytest.raises(errors.RuntimeTooOld):
        asyncio.run(
            manager.upgrade(reader(edited(files, lambda d: d.update(version="2.0.0", min_runtime_version="0.6.0"))))
        )
    assert manager.active is first and manager.previous is None
    assert [e["code"] for e in events] == ["pack_runtime_too_old"]


def test_rollback_returns_to_the_previous_pack(files, runtime):
    manager = KernelManager(policy(), runtime)
    asyncio.run(manager.upgrade(reader(files)))
    asyncio.run(manager.upgrade(reader(edited(files, lambda d: d.update(version="2.0.0")))))
    assert manager.active.manifest.version == "2.0.0"
    assert manager.rollback().manifest.version == "1.0.0"
    assert np.allclose(manager.call("normalize", **X)[1]["y"], [[0.6, 0.8]])
    with pytest.raises(errors.KernelNotFound):
        manager.rollback()


def test_without_a_pack_the_references_answer_and_it_is_said_once(runtime):
    events = []
    manager = KernelManager(policy(), runtime, events.append)
    for _ in range(3):
        assert np.allclose(manager.call("normalize", **X)[1]["y"], [[0.6, 0.8]])
    assert manager.call_extension(ext_cases()[1])[0] == 0
    assert len(events) == 1 and manager.degraded == {"normalize": 3, "rmsnorm_f32": 1}
    with pytest.raises(errors.KernelNotFound):
        manager.call_extension(ExtCall("unknown", b"", *[np.zeros(0, np.float32)] * 3))
