"""The adapters that a person keeps: whole or not at all, by name. Needs NumPy; runs anywhere, over a `host.base.Storage`.

An adapter is two entries: `<id>.safetensors` (config, factors, metadata) and then `<id>.json` (name, metrics, profile, use). The record
is what makes it one: whatever stops the program, an adapter is there whole or not at all. One writer at a time.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np

from ..errors import AdapterExists, AdapterNotFound, EdgeNetError, InvalidAdapter
from ..fields import (
    COUNT,
    KEY_ID,
    OBJECT,
    TEXT,
    TIME,
    Check,
    Field,
    check_fields,
    list_of,
    load_object,
    time_text,
)
from . import peft, routing
from .adapter import NAME, Adapter
from .routing import Profile

DATA, RECORD = ".safetensors", ".json"
_TEXT = Check("a text", lambda v: isinstance(v, str))
_FIELDS = (
    Field("name", NAME, True),
    Field("bytes", COUNT, True),
    Field("base_id", _TEXT, True),
    Field("family", _TEXT, True),
    Field("rank", COUNT, True),
    Field("modules", list_of(TEXT), True),
    Field("created", TIME, True),
    Field("last_used", TIME, True),
    Field("turn", COUNT, True),
    Field("metrics", OBJECT, True),
    Field("profile", Check("an object or null", lambda v: v is None or isinstance(v, dict)), True),
    Field("base_sha256", _TEXT),  # a record of before has neither
    Field("signed_by", Check("a key's id or null", lambda v: v is None or KEY_ID.test(v))),
)


@dataclass(frozen=True)
class Entry:
    """A kept adapter. `bytes`: of its factors; `turn`: counts up with every use.

    `metrics`: JSON data (losses, …); `profile`: what it was trained on, for routing; `signed_by`: the trusted key whose signature it
    had when it came. `last_used` and `turn` are written by the page, too (`web/loader/kept.js`), which needs no Python for it.
    """

    id: str
    name: str
    bytes: int
    base_id: str
    family: str
    rank: int
    modules: Sequence[str]
    created: str
    last_used: str
    turn: int = 0
    metrics: Mapping = field(default_factory=dict)
    profile: Profile | None = None
    base_sha256: str = ""
    signed_by: str | None = None

    def to_bytes(self) -> bytes:
        """The record."""
        data = {name: value for name, value in asdict(replace(self, profile=None)).items() if name != "id"}
        return json.dumps(data | {"profile": self.profile and self.profile.to_data()}, ensure_ascii=False).encode()

    @classmethod
    def from_bytes(cls, id: str, data: bytes) -> "Entry":
        """From a record. Raises InvalidAdapter."""
        told = load_object(data, f"the record of adapter {id}", InvalidAdapter, InvalidAdapter)
        check_fields(told, _FIELDS, f"the record of adapter {id}", InvalidAdapter)
        profile = told["profile"] and Profile.from_data(told["profile"])
        return cls(id, **{row.name: told[row.name] for row in _FIELDS if row.name in told} | {"profile": profile})


class Pool:
    """The adapters in a storage; every one stays until `remove`. `clock`: see `host/base.py`. Call `open` first."""

    def __init__(self, storage, clock):
        self._storage, self._clock = storage, clock
        self._entries: dict[str, Entry] = {}

    async def open(self) -> "Pool":
        """Read what is kept. A record that cannot be read is made anew from its adapter; if that cannot either, there is none."""
        for name in await self._storage.list():
            if name.endswith(RECORD) and (entry := await self._opened(name.removesuffix(RECORD))):
                self._entries[entry.id] = entry
        return self

    async def _opened(self, id: str) -> Entry | None:
        try:
            return Entry.from_bytes(id, await self._storage.get(id + RECORD) or b"")
        except InvalidAdapter:
            data = await self._storage.get(id + DATA)
        try:
            return self._entry(peft.unpacked(data, id), id) if data else None
        except EdgeNetError:  # of the others nothing is damaged
            return None

    @property
    def entries(self) -> list[Entry]:
        """All, the longest unused first."""
        return sorted(self._entries.values(), key=lambda entry: entry.turn)

    def find(self, ref: str) -> Entry:
        """The entry of an id, a name, or an id's beginning of four characters or more. Raises AdapterNotFound."""
        ref = ref if isinstance(ref, str) else repr(ref)
        exact = [entry for entry in self._entries.values() if ref in (entry.id, entry.name)]
        found = exact or [entry for entry in self._entries.values() if len(ref) >= 4 and entry.id.startswith(ref)]
        if len(found) == 1:
            return found[0]
        there = ", ".join(sorted(entry.name for entry in self._entries.values())) or "none"
        what = f"{len(found)} adapters are called or begin" if found else "No adapter is called or begins"
        raise AdapterNotFound(
            f"{what} with {ref[:80]!r}; kept are: {there}. Name one of them, or import it first.", adapter=ref[:200]
        )

    async def get(self, ref: str) -> Adapter:
        """The adapter, under the name it has here. Raises AdapterNotFound, or InvalidAdapter or HashMismatch for a damaged file."""
        entry = self.find(ref)
        if (data := await self._storage.get(entry.id + DATA)) is None:
            raise AdapterNotFound(
                f"The file of adapter {entry.name!r} is gone. Remove it and import it again.", adapter=entry.id
            )
        return peft.unpacked(data, entry.name).renamed(entry.name)

    # --- changes
    async def add(
        self,
        adapter: Adapter,
        metrics: Mapping | None = None,
        profile: Profile | None = None,
        signed_by: str | None = None,
    ) -> Entry:
        """Keep an adapter; one that does the same is replaced. `signed_by`: the trusted key whose signature it has.

        Raises AdapterExists if another has its name, or a StorageError.
        """
        self._require_free(adapter.name, adapter.id)
        await self._sweep()
        before = self._entries.get(adapter.id)
        entry = before or self._entry(adapter, adapter.id)
        await self._storage.put(entry.id + DATA, peft.packed(adapter))
        told = {"name": adapter.name, "base_sha256": adapter.base_sha256, "signed_by": signed_by}
        told |= {"metrics": metrics or entry.metrics, "profile": profile or entry.profile}
        return await self._put(replace(entry, **told))

    async def remove(self, ref: str) -> Entry:
        """Forget an adapter: first its record, then its file."""
        entry = self.find(ref)
        await self._storage.delete(entry.id + RECORD)
        del self._entries[entry.id]
        await self._storage.delete(entry.id + DATA)
        return entry

    async def rename(self, ref: str, name: str) -> Entry:
        """Give an adapter another name here. Raises AdapterNotFound, AdapterExists or InvalidAdapter."""
        entry = self.find(ref)
        check_fields({"name": name}, (Field("name", NAME),), "the adapter", InvalidAdapter)
        self._require_free(name, entry.id)
        return await self._put(replace(entry, name=name))

    async def learn(
        self, ref: str, vectors: np.ndarray, texts: Collection[str] = (), model: str = "", anew: bool = False
    ) -> Entry:
        """Add texts that the adapter was trained on, f32 (n, d) by the embedding model `model`, to its profile; `anew`: to none.

        Raises as `routing.learned`.
        """
        entry = self.find(ref)
        before = None if anew else entry.profile
        return await self._put(replace(entry, profile=routing.learned(before, vectors, list(texts), model)))

    async def redescribe(self, ref: str, profile: Profile | None) -> Entry:
        """Put a profile in place of an adapter's; None: nobody knows what it was trained on."""
        return await self._put(replace(self.find(ref), profile=profile))

    def route(
        self, vector: np.ndarray, threshold: float = routing.THRESHOLD, model: str = "", base: str | None = None
    ) -> list[tuple[str, float]]:
        """[(id, similarity)] of the adapters that a request's vector is like, the likest first; empty: none, the base answers alone.

        `model`: the embedding model of the vector; `base`: the `base_id` of those that may answer, None: of any.
        """
        profiles = {e.id: e.profile for e in self._entries.values() if e.profile and base in (None, e.base_id)}
        return routing.route(vector, profiles, threshold, model)

    # --- parts
    def _entry(self, adapter: Adapter, id: str) -> Entry:
        now = time_text(self._clock.now())
        of = (adapter.name, adapter.bytes, adapter.base_id, adapter.family, adapter.config.r, adapter.modules)
        return Entry(id, *of, created=now, last_used=now, turn=self._turn(), base_sha256=adapter.base_sha256)

    def _turn(self) -> int:
        return 1 + max((entry.turn for entry in self._entries.values()), default=0)

    async def _put(self, entry: Entry) -> Entry:
        await self._storage.put(entry.id + RECORD, entry.to_bytes())
        self._entries[entry.id] = entry
        return entry

    def _require_free(self, name: str, id: str) -> None:
        if other := next((e for e in self._entries.values() if e.name == name and e.id != id), None):
            raise AdapterExists(
                f"Another adapter ({other.id}) is called {name!r}. Rename or remove it, or choose another name.",
                name=name,
            )

    async def _sweep(self) -> None:
        """Delete files that an interrupted `add` or `remove` left without a record."""
        names = set(await self._storage.list())
        for name in names:
            if name.endswith(DATA) and name.removesuffix(DATA) + RECORD not in names:
                await self._storage.delete(name)
