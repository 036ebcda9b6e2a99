"""The site's signing key: made at the first build in the user's config folder, never inside the project.

Path, form and validity are those of `edge-net-models keys generate`, so that both sign with one key.
"""

import sys
import time
from pathlib import Path

from edgenet.errors import EdgeNetError
from edgenet.fields import seconds
from edgenet.host.cpython import create_signer, load_signer
from edgenet.host.files import Disk
from edgenet.registry.site_keys import KEY_PATH, key_dates, read_dates, write_dates
from tools.paths import ROOT


class SiteKey:
    """Signer and clock in one (see `edgenet.host.base`): what it signs carries the day its validity began."""

    def __init__(self, signer, dates):
        self.sign, self.public_key = signer.sign, signer.public_key
        self.dates, self.not_before = dates, dates["notBefore"]

    def now(self):
        return seconds(self.not_before)


def site_key(path=None):
    """The key at `path` (default: the user's own), made with mode 0600 when it is missing. Exits if it is not fit to sign."""
    path = Path(path or KEY_PATH).expanduser()
    if not path.exists():
        make(path)
    if "tests" in path.resolve().parts and ROOT in path.resolve().parents:
        sys.exit(f"{path} is a test key, which everybody has. Leave out --key to sign with your own.")
    try:
        signer = load_signer(path)
    except EdgeNetError as error:
        sys.exit(error.message)
    dates = read_dates(path, Disk())
    if not path.with_suffix(".json").exists():
        write_dates(path, dates, Disk())  # a key from elsewhere: kept, so that every build says the same
    return SiteKey(signer, dates)


def make(path):
    """A new private key, readable by its owner only, and its validity."""
    create_signer(path)
    write_dates(path, key_dates(time.time()), Disk())
    print(f"Made a signing key: {path} (keep it; whoever has it can sign models for your site)")
