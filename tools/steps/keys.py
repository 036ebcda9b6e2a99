"""The site's signing key: made at the first build in the user's config folder, never inside the project."""

import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edgenet.errors import TestKeyRefused
from edgenet.fields import seconds
from edgenet.host.cpython import refuse_test_key
from tools.paths import ROOT

YEARS_VALID = 5


def default_path():
    """`signing-key.pem` in the user's config folder."""
    base = os.environ.get("APPDATA") if os.name == "nt" else os.environ.get("XDG_CONFIG_HOME")
    return Path(base or Path.home() / ".config") / "edgenet" / "signing-key.pem"


class SiteKey:
    """Signer and clock in one (see `edgenet.host.base`): what it signs carries the day its validity began."""

    def __init__(self, private, dates):
        self._private = private
        self.not_before, self.not_after = dates["notBefore"], dates["notAfter"]
        self.public_key = private.public_key().public_bytes_raw()

    async def sign(self, message):
        return self._private.sign(message)

    def now(self):
        return seconds(self.not_before)


def site_key(path=None):
    """The key at `path` (default: the user's own), made with mode 0600 when it is missing."""
    path = Path(path) if path else default_path()
    if not path.exists():
        make(path)
    if "tests" in path.resolve().parts and ROOT in path.resolve().parents:
        sys.exit(f"{path} is a test key, which everybody has. Leave out --key to sign with your own.")
    private = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(private, Ed25519PrivateKey):
        sys.exit(f"{path} is not an Ed25519 private key; make one with: edge-net-models keys generate")
    try:
        refuse_test_key(private.public_key().public_bytes_raw(), path)
    except TestKeyRefused as error:
        sys.exit(error.message)
    dates = path.with_suffix(".json")
    if not dates.exists():
        write_dates(dates)
    return SiteKey(private, json.loads(dates.read_text()))


def make(path):
    """A new private key, readable by its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    private = Ed25519PrivateKey.generate()
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(private.private_bytes(*form))
    write_dates(path.with_suffix(".json"))
    print(f"Made a signing key: {path} (keep it; whoever has it can sign models for your site)")


def write_dates(path):
    """Validity from yesterday (a visitor's clock may be slow) for some years; kept, so that every build says the same."""
    start = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
    end = start.replace(year=start.year + YEARS_VALID, day=min(start.day, 28))
    text = "%Y-%m-%dT%H:%M:%SZ"
    path.write_text(json.dumps({"notBefore": start.strftime(text), "notAfter": end.strftime(text)}) + "\n")
