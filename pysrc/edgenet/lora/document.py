"""`LoRAAdapter`: an adapter as one JSON document, for sharing as text. Needs NumPy; runs anywhere.

Factors are f32 little endian in base64, rows of A (r, in) and of B (out, r) one after the other. Arrays of numbers, and the objects
`{"0": …}` that JavaScript makes of a Float32Array, are read too.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ..errors import InvalidAdapter, NotCanonical
from ..fields import OBJECT, SHA256, TEXT, Check, Field, check_fields, require_shallow
from .about import require_checksum
from .adapter import Adapter, config_of
from .names import module_path

MAX_BYTES = 1 << 30
_NUMBER = Check(
    "a number below 1e30", lambda v: isinstance(v, int | float) and not isinstance(v, bool) and abs(v) < 1e30
)
_RANK = Check("a whole number from 1 to 256", lambda v: type(v) is int and 1 <= v <= 256)
_FIELDS = (
    Field("name", TEXT, True),
    Field("rank", _RANK, True),
    Field("alpha", _NUMBER, True),
    Field("weights", Check("an object of one module or more", lambda v: isinstance(v, dict) and len(v) > 0), True),
    Field("ranks", OBJECT),
    Field("scales", OBJECT),
    Field("metadata", OBJECT),
    Field("baseId", SHA256),
    Field("baseSha256", SHA256),
    Field("family", TEXT),
    Field("checksum", SHA256),
    Field("signature", TEXT),
    Field("signedBy", OBJECT),
)
# Fields of the document that are an adapter's metadata, under the same names; whatever else it says stands under `metadata`.
TOLD = ("description", "version", "createdAt", "baseModel", "training", "quality", "sharing")

FIRST_VERSION = "1.0.0"  # of an adapter that names none


def write(adapter: Adapter) -> bytes:
    """The document, UTF-8. `ranks` and `scales` (what B A is multiplied by) stand there where modules differ from `rank` and `alpha`."""
    config, told = adapter.config, adapter.metadata
    ranks = {path: len(A) for path, (A, _) in adapter.tensors.items() if len(A) != config.r}
    usual = config.lora_alpha / config.r
    scales = {path: adapter.scale(path) for path in adapter.tensors if adapter.scale(path) != usual}
    data = {"id": adapter.id, "name": adapter.name} | {name: told[name] for name in TOLD if name in told}
    data |= {"metadata": {key: value for key, value in told.items() if key not in TOLD}}
    data |= {"rank": config.r, "alpha": config.lora_alpha, "targetModules": adapter.modules}
    data |= {
        "ranks": ranks,
        "scales": scales,
        "baseId": adapter.base_id,
        "baseSha256": adapter.base_sha256,
        "family": adapter.family,
    }
    data |= {"weights": {path: {"lora_A": _text(A), "lora_B": _text(B)} for path, (A, B) in adapter.tensors.items()}}
    data |= {"checksum": adapter.checksum} | _signed(adapter)
    return (
        json.dumps({k: v for k, v in data.items() if v not in ("", {})}, ensure_ascii=False, indent=1).encode() + b"\n"
    )


def exported(adapter: Adapter, created: str, metrics: Mapping) -> bytes:
    """As `write`, of an adapter that is kept (`pool.Entry`), with what the format has and the adapter's own metadata does not: `version`,
    `createdAt` and, where its training was measured here, `training.duration`, ms: its steps at their mean pace.
    """
    known = {"version": FIRST_VERSION, "createdAt": created} | dict(adapter.metadata)
    trained, pace, steps = known.get("training"), metrics.get("secondsPerStep"), metrics.get("steps")
    # who keeps an adapter tells what they like
    measured = all(type(n) in (int, float) and 0 < n < 1e9 for n in (pace, steps))
    if isinstance(trained, Mapping) and measured:
        known["training"] = {**trained, "duration": round(1000 * pace * steps)}
    return write(replace(adapter, metadata=known))


def _signed(adapter: Adapter) -> dict:
    """`signature` as the format has it, a text; who signed and when beside it."""
    if adapter.signature is None:
        return {}
    rest = {name: value for name, value in adapter.signature.items() if name != "value"}
    return {"signature": adapter.signature["value"], "signedBy": rest}


def read(data: bytes, what: str = "adapter") -> Adapter:
    """The adapter of a document. Raises InvalidAdapter, NotFinite, HashMismatch, or InvalidOption for an alpha that cannot be."""
    document = _object(data, what)
    check_fields(document, _FIELDS, what, InvalidAdapter)
    tensors, scales = {}, {}
    for key, pair in document["weights"].items():
        if (path := module_path(key)) in tensors:
            raise InvalidAdapter(f"{what}: two of its weights are of the module {path[:80]!r}.", module=path)
        tensors[path] = _factors(
            pair, _number(document, "ranks", key, document["rank"], what), f"{what}: weights[{key[:80]!r}]"
        )
        scales[path] = _number(document, "scales", key, document["alpha"] / document["rank"], what)
    adapter = Adapter(
        config_of({path: len(A) for path, (A, _) in tensors.items()}, scales),
        tensors,
        name=document["name"],
        base_id=document.get("baseId", ""),
        base_sha256=document.get("baseSha256", ""),
        family=document.get("family", ""),
        metadata=document.get("metadata", {}) | {name: document[name] for name in TOLD if name in document},
        signature={**document["signedBy"], "value": document["signature"]}
        if "signedBy" in document and "signature" in document
        else None,
    )
    require_checksum(adapter, document.get("checksum"), what)
    return adapter


def _object(data: bytes, what: str) -> dict:
    if len(data) > MAX_BYTES:
        raise InvalidAdapter(f"{what} has {len(data)} bytes; {MAX_BYTES} is the most.")
    try:
        text = data.decode()
        require_shallow(text)
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, NotCanonical) as error:
        raise InvalidAdapter(f"{what} is no JSON ({error}). Get it again.") from error


def _refuse(constant: str):
    raise ValueError(f"{constant} is not JSON")


def _number(document: Mapping, table: str, key: str, otherwise: float, what: str) -> float:
    value = document.get(table, {}).get(key, otherwise)
    check = _RANK if table == "ranks" else _NUMBER
    check_fields({key: value}, (Field(key, check),), f"{what}, {table}", InvalidAdapter)
    return value


def _factors(pair, rank: int, where: str) -> tuple[np.ndarray, np.ndarray]:
    check_fields(pair, (Field("lora_A", _ARRAY, True), Field("lora_B", _ARRAY, True)), where, InvalidAdapter)
    A, B = (_values(pair[name], f"{where}.{name}") for name in ("lora_A", "lora_B"))
    if not A.size or not B.size or A.size % rank or B.size % rank:
        raise InvalidAdapter(f"{where}: {A.size} and {B.size} numbers are no factors of rank {rank}.", rank=rank)
    return A.reshape(rank, -1), B.reshape(-1, rank)


_ARRAY = Check("an array of numbers, or their f32 bytes in base64", lambda v: isinstance(v, str | list | dict))


def _values(given, where: str) -> np.ndarray:
    """f32 (n,)."""
    try:
        if isinstance(given, str):
            return np.frombuffer(base64.b64decode(given, validate=True), "<f4").astype(np.float32)
        if isinstance(given, dict):
            given = [given[str(i)] for i in range(len(given))]
        with np.errstate(over="ignore"):  # what is beyond f32 is refused with the other infinities
            return np.array([float(v) for v in given], np.float32)
    except (ValueError, TypeError, KeyError, OverflowError, binascii.Error) as error:
        raise InvalidAdapter(f"{where} holds no numbers: {error}.") from error


def _text(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array, "<f4").tobytes()).decode()
