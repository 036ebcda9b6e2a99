"""Which addresses can give an artifact's bytes: one row per source type, best first. Runs anywhere; fetches nothing.

Twin of `web/loader/sources.js`, with one kind more: `folder`, for a site that lies on this machine's disk.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit

from ..errors import SourceUnsupported

DEFAULT_SOURCES = ({"type": "cdn", "priority": 1, "baseUrl": "./"},)
LAST = 99
KINDS = ("cdn", "ipfs", "folder")


@dataclass(frozen=True)
class Candidate:
    """One address of one artifact. `kind` is one of KINDS; the smaller `priority`, the better."""

    kind: str
    url: str
    priority: int


def _at_base(source: dict, artifact: dict, manifest_url: str) -> list[str]:
    base = urljoin(manifest_url, source.get("baseUrl") or "./")
    name = "/".join(quote(part, safe="!'()*-._~") for part in artifact["filename"].split("/"))
    return [urljoin(base if base.endswith("/") else base + "/", name)]


def _at_gateways(source: dict, artifact: dict, manifest_url: str) -> list[str]:
    cid = artifact.get("cid")
    return [
        urljoin(gateway if gateway.endswith("/") else gateway + "/", cid)
        for gateway in source.get("gateways") or ()
        if cid
    ]


# A type that is not here is skipped: a newer manifest may name it.
_TYPES = {"cdn": _at_base, "http": _at_base, "gcs": _at_base, "fallback": _at_base, "ipfs": _at_gateways}


def candidates(manifest: dict, artifact: dict, manifest_url: str, gateways: Iterable[str] = ()) -> list[Candidate]:
    """The candidates of one artifact by the manifest's priority, then those of our own `gateways`; each address once.

    An address on this disk counts only if the manifest lies there too: a fetched manifest must not make us read local files.
    """
    own = {"type": "ipfs", "priority": LAST, "gateways": list(gateways)}
    rows = []
    for source in [*(manifest.get("sources") or DEFAULT_SOURCES), own]:
        for url in _TYPES.get(source["type"], lambda *_: [])(source, artifact, manifest_url):
            rows.append(Candidate(_kind(source["type"], url), url, source.get("priority", LAST)))
    local = urlsplit(manifest_url).scheme == "file"
    by_url = {
        row.url: row
        for row in sorted(rows, key=lambda row: row.priority, reverse=True)
        if local or row.kind != "folder"
    }
    return sorted(by_url.values(), key=lambda row: row.priority)


def _kind(kind: str, url: str) -> str:
    if urlsplit(url).scheme == "file":
        return "folder"
    return "ipfs" if kind == "ipfs" else "cdn"


def only(rows: list[Candidate], kind: str | None, name: str) -> list[Candidate]:
    """The candidates of the kind asked for by name; all of them for None. Raises SourceUnsupported if none is left."""
    left = [row for row in rows if kind in (None, row.kind)]
    if left:
        return left
    there = ", ".join(sorted({row.kind for row in rows})) or "none that this program can read"
    raise SourceUnsupported(
        f"{name} was asked for from source {kind or 'any'}, but its manifest offers: {there}. "
        "Leave --source out to use what there is.",
        asked=kind,
        found=there,
    )


def prefer(rows: list[Candidate], kind: str | None) -> list[Candidate]:
    """The same candidates with those of `kind` first, else in their order."""
    return sorted(rows, key=lambda row: row.kind != kind)
