"""Whom this user believes, site by site, and the judgement of a manifest before anything of it is fetched. CPython.

A site is believed on first use, like a host in SSH: its `trust.json` is kept, said aloud, and from then on only those keys count,
whatever the site serves later, until the user says `keys trust`. Keys trusted by hand count for every site. Below the home folder:
`trust.json`, `revoked.json` (key ids this user believes no more), `sites/<hash>.json` (site, its keys, its newest revocations).
"""

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from ..errors import EdgeNetError, KeyNotFound, KeyUntrusted, TrustFileInvalid
from ..trust import Revocations, Trust, Verdict, accept_revocations, parse_revocations, parse_trust, verify_manifest

_NO_KEYS = {"schemaVersion": 1, "keys": []}


class TrustBook:
    """home: folder of the user's records; clock: `now()` in seconds since 1970; verify: Ed25519 as `trust.py` wants it."""

    def __init__(self, home: Path, disk, clock, verify, emit=lambda event: None):
        self._home, self._disk, self._clock, self._verify, self._emit = Path(home), disk, clock, verify, emit

    # --- records -----------------------------------------------------------------------------------------------------
    def own(self) -> dict:
        """The user's own `trust.json`; without keys if there is none."""
        return self._read(self._home / "trust.json") or _NO_KEYS

    def revoked(self) -> list[str]:
        """Key ids that the user believes no more."""
        return (self._read(self._home / "revoked.json") or {}).get("keys", [])

    def sites(self) -> list[dict]:
        """Every site met: {"site", "trust", "revocations"}."""
        return [row for path in sorted((self._home / "sites").glob("*.json")) if (row := self._read(path))]

    def keys(self) -> list[dict]:
        """Every key known, as in `trust.json`, with `from` (a site or "you") and `revoked`."""
        groups = [("you", self.own()), *((row["site"], row["trust"]) for row in self.sites())]
        gone = set(self.revoked())
        return [key | {"from": who, "revoked": key["keyId"] in gone} for who, group in groups for key in group["keys"]]

    def key(self, key_id: str) -> dict:
        """One known key by its id or an unambiguous beginning. Raises KeyNotFound."""
        found = {key["keyId"]: key for key in reversed(self.keys()) if key["keyId"].startswith(key_id.lower())}
        if len(found) == 1:
            return next(iter(found.values()))
        there = ", ".join(sorted({key["keyId"] for key in self.keys()})) or "none"
        raise KeyNotFound(
            f"{'Several keys begin' if found else 'No known key begins'} with {key_id!r}. Known are: {there}.",
            key=key_id,
        )

    # --- changes -----------------------------------------------------------------------------------------------------
    def trust_keys(self, keys: list[dict]) -> None:
        """Believe these keys (entries of a `trust.json`) for every site; a key revoked by hand before is believed again."""
        rows = {key["keyId"]: key for key in [*self.own()["keys"], *keys]}
        document = {"schemaVersion": 1, "keys": list(rows.values())}
        parse_trust(document)
        self._write(self._home / "trust.json", document)
        self._write(
            self._home / "revoked.json",
            {"keys": [k for k in self.revoked() if k not in {key["keyId"] for key in keys}]},
        )

    def revoke_key(self, key_id: str) -> None:
        """Believe a key no more, whichever site names it."""
        self._write(self._home / "revoked.json", {"keys": sorted({*self.revoked(), key_id})})

    async def trust_site(self, site) -> list[dict]:
        """Take the keys that a site serves now as its keys; returns them. Raises TrustFileInvalid or KeyUntrusted."""
        data = await site.document("trust.json")
        if data is None:
            raise KeyUntrusted(
                f"{site.url} serves no trust.json, so nothing says whose signature counts there. "
                "Trust the publisher's key by hand: `edge-net-models keys trust KEY`.",
                site=site.url,
            )
        parse_trust(data)
        document = json.loads(data)
        before = self._site(site.url) or {"revocations": None}
        self._write(self._path(site.url), before | {"site": site.url, "trust": document})
        return document["keys"]

    # --- judgement ---------------------------------------------------------------------------------------------------
    async def accept(self, manifest: dict, site, *, allow_unsigned: bool = False) -> Verdict:
        """The verdict on a manifest from `site`, by the site's kept keys, the user's own, and revocations as new as can be had.

        Raises ManifestError or TrustError; nothing else was fetched then.
        """
        if self._site(site.url) is None and not (allow_unsigned and "signature" not in manifest):
            await self._first_use(site)
        revocations = await self._revocations(site)
        try:
            return await verify_manifest(
                manifest,
                self.trusted(site.url),
                revocations,
                self._clock.now(),
                self._verify,
                allow_unsigned=allow_unsigned,
            )
        except KeyUntrusted as error:
            known = ", ".join(self.trusted(site.url).keys) or "none"
            raise KeyUntrusted(
                f"{manifest['id']} {manifest['version']} is signed by {error.details.get('keyId')}, but the keys believed "
                f"for {site.url} are: {known}. If its owner confirms the new key, run "
                f"`edge-net-models --site {site.url} keys trust`.",
                **error.details,
            ) from error

    async def believed(self, site) -> tuple[Trust, Revocations]:
        """The keys and revocations that count for a site now; one met for the first time is believed from here on."""
        if self._site(site.url) is None:
            await self._first_use(site)
        revocations = await self._revocations(site)
        return self.trusted(site.url), revocations

    def known_revocations(self, site_url: str) -> Revocations:
        """The newest accepted list of a site together with the keys that the user revoked."""
        document = (self._site(site_url) or {}).get("revocations")
        accepted = parse_revocations(document) if document else Revocations()
        return replace(accepted, keys=accepted.keys | set(self.revoked()))

    async def _first_use(self, site) -> None:
        if await site.document("trust.json") is None:
            return  # only the user's own keys can count
        keys = await self.trust_site(site)
        names = ", ".join(key["keyId"] for key in keys)
        self._emit(
            {
                "status": "notice",
                "code": "first_use",
                "reason": f"First use of {site.url}: from now on its models must be signed by {names}.",
            }
        )

    async def _revocations(self, site) -> Revocations:
        """Look for a newer list; an unusable one is told and the accepted one stays."""
        known = self.known_revocations(site.url)
        try:
            data = await site.document("revocations.json")
            if data is None:
                return known
            bare = replace(known, keys=known.keys - set(self.revoked()))
            fresh = await accept_revocations(data, self.trusted(site.url), bare, self._clock.now(), self._verify)
        except EdgeNetError as error:
            self._emit(
                {"status": "fallback", "code": error.code, "reason": f"{error.message} The last accepted list counts."}
            )
            return known
        if record := self._site(site.url):
            self._write(self._path(site.url), record | {"revocations": fresh.document})
        return replace(fresh, keys=fresh.keys | set(self.revoked()))

    def trusted(self, site_url: str) -> Trust:
        """The keys that count for a site: those kept for it and the user's own."""
        groups = [(self._site(site_url) or {"trust": _NO_KEYS})["trust"], self.own()]
        return Trust({name: key for group in groups if group["keys"] for name, key in parse_trust(group).keys.items()})

    # --- files -------------------------------------------------------------------------------------------------------
    def _path(self, site_url: str) -> Path:
        return self._home / "sites" / f"{sha256(site_url.encode()).hexdigest()[:16]}.json"

    def _site(self, site_url: str) -> dict | None:
        return self._read(self._path(site_url))

    def _read(self, path: Path) -> dict | None:
        data = self._disk.read(path)
        try:
            return None if data is None else json.loads(data)
        except ValueError as error:
            raise TrustFileInvalid(
                f"{path} is not JSON ({error}). Remove it and trust its keys again with `edge-net-models keys trust`.",
                path=str(path),
            ) from error

    def _write(self, path: Path, document: dict) -> None:
        self._disk.write(path, json.dumps(document, indent=1).encode(), mode=0o600)
