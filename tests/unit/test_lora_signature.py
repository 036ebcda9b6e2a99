"""Signatures of adapters: over what they do and for which base, by a trusted key that may sign adapters. Runs anywhere."""

from dataclasses import replace

import numpy as np
import pytest

from edgenet.errors import BY_CODE, SignatureMissing
from edgenet.fields import seconds
from edgenet.lora import LoraConfig, document, peft
from edgenet.lora.adapter import Adapter
from edgenet.lora.signature import sign, verify
from edgenet.trust import Revocations, parse_trust
from tests.ed25519_reference import ReferenceSigner
from tests.ed25519_reference import verify as ed25519
from tests.trust_vectors import FixedClock, edited, load, run

SIGNED_AT, NOW = "2026-03-01T12:00:00Z", "2026-06-01T00:00:00Z"
KEY = "21fe31dfa154a261"
MAY_SIGN = [[["keys", 0, "capabilities"], ["sign-adapter"]]]
Q = "model.layers.0.self_attn.q_proj"
PLAIN = Adapter(
    LoraConfig(r=2, lora_alpha=4, target_modules=("q_proj",)),
    {Q: (np.ones((2, 64), np.float32), np.ones((64, 2), np.float32))},
    base_id="ab" * 32,
    base_sha256="cd" * 32,
)


@pytest.fixture(scope="module")
def signed():
    signer = ReferenceSigner(bytes.fromhex(load("ed25519")["rfc8032"][0]["seed"]))
    return run(sign(PLAIN, signer, FixedClock(SIGNED_AT)))


def verdict(adapter, trust=MAY_SIGN, now=NOW, revoked=()):
    keys = parse_trust(edited(load("trust")["trust"], trust))
    return run(verify(adapter, keys, Revocations(keys=frozenset(revoked)), seconds(now), ed25519))


def test_a_signed_adapter_names_its_key_and_keeps_its_id(signed):
    assert verdict(signed) == KEY and signed.id == PLAIN.id and signed.signature["timestamp"] == SIGNED_AT


def test_the_signature_goes_through_the_files(signed):
    for again in (peft.read(peft.write(signed)), document.read(document.write(signed))):
        assert again.signature == signed.signature and verdict(again) == KEY


def test_a_name_and_metadata_are_a_readers_own(signed):
    assert verdict(replace(signed, name="mine", metadata={"notes": "x"})) == KEY


CHANGED = [
    (lambda a: replace(a, base_id="12" * 32), "another base"),
    (lambda a: replace(a, base_sha256=""), "another file of the base"),
    (lambda a: replace(a, family="qwen2"), "another family"),
    (lambda a: replace(a, config=LoraConfig(r=2, lora_alpha=5, target_modules=("q_proj",))), "another scale"),
    (lambda a: replace(a, tensors={Q: (a.tensors[Q][0], 2 * a.tensors[Q][1])}), "other weights"),
    (lambda a: replace(a, signature={**a.signature, "timestamp": "2026-03-01T12:00:01Z"}), "another time"),
]


@pytest.mark.parametrize(("change", "why"), CHANGED, ids=[row[1] for row in CHANGED])
def test_what_decides_what_it_does_is_signed(signed, change, why):
    with pytest.raises(BY_CODE["signature_invalid"]):
        verdict(change(signed))


KEYS = [
    ({"trust": []}, "key_incapable", "a key that signs manifests, not adapters"),
    ({"trust": [[["keys", 0]]]}, "key_untrusted", "a key that nobody trusts"),
    ({"revoked": [KEY]}, "key_revoked", "a revoked key"),
    ({"now": "2027-06-01T00:00:00Z"}, "key_expired", "a key that has expired"),
    (
        {"trust": MAY_SIGN + [[["keys", 0, "notBefore"], "2026-04-01T00:00:00Z"]]},
        "key_not_yet_valid",
        "a key not valid when it signed",
    ),
]


@pytest.mark.parametrize(("more", "code", "why"), KEYS, ids=[row[2] for row in KEYS])
def test_the_key_is_judged_as_a_manifests_is(signed, more, code, why):
    with pytest.raises(BY_CODE[code]):
        verdict(signed, **more)


def test_an_adapter_without_a_signature_is_told_apart():
    with pytest.raises(SignatureMissing):
        verdict(PLAIN)
