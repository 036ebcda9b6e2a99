"""A site that models come from: an address or a folder with `models/index.json`, `trust.json` and `revocations.json`.

It only reads, through the opener passed in, and judges form; whom to believe is `accept.py`'s matter.
"""

import re
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from ..errors import HttpStatusError, ManifestSchemaError, ModelNotFound, NoSite
from ..fields import COUNT, MODEL_ID, OBJECT, TEXT, VERSION, Field, check_fields, list_of, load_object
from ..manifest import parse
from .stored import version_order

INDEX = "models/index.json"
_INDEX = (Field("models", list_of(OBJECT), True),)
_ROW = (
    Field("id", MODEL_ID, True),
    Field("version", VERSION, True),
    Field("manifest", TEXT, True),
    Field("name", TEXT),
    Field("type", TEXT),
    Field("quantization", TEXT),
    Field("size", COUNT),
)


def site_url(address: str) -> str:
    """The base address, ending in "/", of a site given as http(s) address or folder. Raises NoSite for anything else."""
    if re.match(r"https?://[^/]", address):
        return address if address.endswith("/") else address + "/"
    if not address:
        raise NoSite(
            "No site is set to get models from. Name one: `edge-net-models --site http://localhost:8000 …` (or a folder), "
            "or keep it: `edge-net-models config set cdn.endpoint http://localhost:8000`."
        )
    folder = Path(address.removeprefix("file://")).expanduser().resolve()
    if not folder.is_dir():
        raise NoSite(
            f"{address!r} is neither an http(s) address nor a folder. Write an address in full, as in http://localhost:8000, "
            "or give the folder that holds models/index.json.",
            site=address,
        )
    return folder.as_uri() + "/"


class Site:
    """`url` ends in "/"; `opener.get(url)` gives a document's bytes."""

    def __init__(self, url: str, opener):
        self.url, self._opener = url, opener

    async def document(self, name: str) -> bytes | None:
        """The bytes of a file below the site's root, or None if the site has none of that name."""
        try:
            return await self._opener.get(urljoin(self.url, name))
        except HttpStatusError as error:
            if error.details.get("status") in (404, 410):
                return None
            raise

    async def models(self) -> list[dict]:
        """Rows of `models/index.json`: id, version, manifest and what else they say. Raises NoSite if there is no index."""
        data = await self.document(INDEX)
        if data is None:
            raise NoSite(
                f"{self.url} has no models/index.json, so it is no EdgeNet site. Check the address.", site=self.url
            )
        index = load_object(data, "models/index.json", ManifestSchemaError, ManifestSchemaError)
        check_fields(index, _INDEX, "models/index.json", ManifestSchemaError)
        for number, row in enumerate(index["models"]):
            check_fields(row, _ROW, f"models/index.json models[{number}]", ManifestSchemaError)
        return index["models"]

    async def row(self, model_id: str, version: str | None = None) -> dict:
        """The index row of a model, the newest version if none is named. Raises ModelNotFound, naming what there is."""
        rows = await self.models()
        same_id = [row for row in rows if row["id"] == model_id]
        found = [row for row in same_id if version in (None, row["version"])]
        if found:
            return max(found, key=lambda row: version_order(row["version"]))
        there = sorted({row["version"] for row in same_id}) if same_id else sorted({row["id"] for row in rows})
        what = f"{model_id} has no version {version}" if same_id else f"there is no model {model_id!r}"
        raise ModelNotFound(
            f"At {self.url} {what}. There {'is' if len(there) == 1 else 'are'}: {', '.join(there) or 'none at all'}.",
            id=model_id,
            version=version,
            found=there,
        )

    async def manifest(self, row: dict) -> tuple[dict, str]:
        """(manifest of correct form, its address) of an index row; its trust is not judged yet. Raises a ManifestError."""
        url = urljoin(urljoin(self.url, INDEX), row["manifest"])
        if urlsplit(url)[:2] != urlsplit(self.url)[:2]:
            raise ManifestSchemaError(
                f"models/index.json sends {row['id']} to another place, {url}; that is not followed.", url=url
            )
        manifest = parse(await self._opener.get(url))
        stated, found = (row["id"], row["version"]), (manifest["id"], manifest["version"])
        if stated != found:
            raise ManifestSchemaError(
                f"models/index.json says {'@'.join(stated)}, the manifest at {url} says {'@'.join(found)}.",
                expected="@".join(stated),
                found="@".join(found),
            )
        return manifest, url
