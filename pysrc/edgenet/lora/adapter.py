"""An adapter: LoRA factors with their config, the base they belong to, a checksum and an optional signature. Needs NumPy; runs anywhere.

Hu et al. 2021: a weight W (out, in) becomes W + scale * B A. Factors are kept apart from weights, in the order of Hugging Face's rows;
`bound.py` brings them into a file's.
"""

import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256

import numpy as np

from ..canonical import canonicalize
from ..errors import AdapterMismatch, InvalidAdapter, NotFinite
from ..fields import SHA256, SIGNATURE, Check, Field, check_fields
from .config import MOST_RANK, LoraConfig
from .names import places

MAX_MODULES = 10_000
NAME = Check(
    "1 to 100 characters, none of them a control character",
    lambda v: isinstance(v, str) and 0 < len(v) <= 100 and v.isprintable(),
)
_PATH = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*")
_HASH_OR_NONE = Check("empty or 64 lower-case hex digits", lambda v: v == "" or SHA256.test(v))
_TEXT = Check("a text of at most 200 characters", lambda v: isinstance(v, str) and len(v) <= 200)
_FIELDS = (
    Field("name", NAME),
    Field("base_id", _HASH_OR_NONE),
    Field("base_sha256", _HASH_OR_NONE),
    Field("family", _TEXT),
    Field("metadata", Check("an object", lambda v: isinstance(v, dict))),
)


@dataclass(frozen=True)
class Adapter:
    """`tensors`: {module's path: (A f32 (r, in), B f32 (out, r))}. `base_id`, `family`: see `base_id`; "" where nobody told.

    `base_sha256`: of the GGUF file it was trained on. `metadata`: JSON data (description, training, quality, license …).
    `signature`: `{algorithm, keyId, timestamp, value}`, see `signature.py`. Raises InvalidAdapter or NotFinite for what cannot be.
    """

    config: LoraConfig
    tensors: Mapping[str, tuple[np.ndarray, np.ndarray]]
    name: str = "adapter"
    base_id: str = ""
    base_sha256: str = ""
    family: str = ""
    metadata: Mapping = field(default_factory=dict)
    signature: Mapping | None = None

    def __post_init__(self):
        check_fields({row.name: getattr(self, row.name) for row in _FIELDS}, _FIELDS, "the adapter", InvalidAdapter)
        if self.signature is not None:
            check_fields(self.signature, SIGNATURE, "the adapter's signature", InvalidAdapter)
        if not 0 < len(self.tensors) <= MAX_MODULES:
            raise InvalidAdapter(
                f"The adapter {self.name!r} adapts {len(self.tensors)} modules; 1 to {MAX_MODULES} can be."
            )
        for module, pair in self.tensors.items():
            _check_factors(self.config, module, *pair)

    @property
    def modules(self) -> list[str]:
        """The last names of the modules it adapts, such as `q_proj`."""
        return sorted({path.rpartition(".")[2] for path in self.tensors})

    @property
    def bytes(self) -> int:
        """Bytes of its factors as f32."""
        return sum(A.nbytes + B.nbytes for A, B in self.tensors.values())

    def scale(self, module: str) -> float:
        """What B A is multiplied by at a module's path."""
        return self.config.scale_of(module)

    def scaled(self, values: np.ndarray, module: str, factor: float) -> np.ndarray:
        """A factor of the module, f32, times a number. Raises NotFinite for what is beyond f32."""
        with np.errstate(over="ignore"):
            made = np.float32(factor) * values
        if not np.isfinite(made).all():
            raise NotFinite(
                f"{module}: the factors of {self.name!r} times their scale, {factor:g}, are beyond f32. Train it anew, with a lower "
                "learning rate.",
                module=module,
            )
        return made

    def delta(self, module: str) -> np.ndarray:
        """f32 (out, in): what it adds to the module's weight, rows in Hugging Face's order."""
        A, B = self.tensors[module]
        return np.float32(self.scale(module)) * (B @ A)

    @cached_property
    def checksum(self) -> str:
        """SHA-256 hex of the weights: canonical JSON `[[path, shape of A, shape of B], …]` by path, then in that order A and B,
        f32 little endian.
        """
        rows = [(path, *self.tensors[path]) for path in sorted(self.tensors)]
        digest = sha256(canonicalize([[path, list(A.shape), list(B.shape)] for path, A, B in rows]))
        for _, A, B in rows:
            digest.update(np.ascontiguousarray(A, "<f4"))
            digest.update(np.ascontiguousarray(B, "<f4"))
        return digest.hexdigest()

    @property
    def statement(self) -> dict:
        """All that decides what it does to a model, as JSON data: base, family, checksum, the scale of each module."""
        scales = {path: float(np.float32(self.scale(path))) for path in self.tensors}
        return {"base_id": self.base_id, "checksum": self.checksum, "family": self.family, "scales": scales}

    @cached_property
    def id(self) -> str:
        """A UUID (RFC 9562, version 8) out of the statement's SHA-256: what does the same has the same id, whatever its name."""
        raw = bytearray(sha256(canonicalize(self.statement)).digest()[:16])
        raw[6], raw[8] = raw[6] & 0x0F | 0x80, raw[8] & 0x3F | 0x80
        return str(uuid.UUID(bytes=bytes(raw)))

    def renamed(self, name: str) -> "Adapter":
        """The same under another name; its id and its signature stay. Raises InvalidAdapter."""
        return replace(self, name=name)


def _check_factors(config: LoraConfig, module: str, A: np.ndarray, B: np.ndarray) -> None:
    if not isinstance(module, str) or len(module) > 200 or not _PATH.fullmatch(module):
        raise InvalidAdapter(f"{str(module)[:80]!r} is no path of a module, such as model.layers.0.self_attn.q_proj.")
    rank = config.rank_of(module)
    if A.dtype != np.float32 or B.dtype != np.float32 or A.ndim != 2 or B.ndim != 2:
        raise InvalidAdapter(
            f"{module}: A and B must be float32 matrices, found {A.dtype} {A.shape} and {B.dtype} {B.shape}."
        )
    if not len(A) == B.shape[1] == rank <= MOST_RANK or not A.size or not B.size:
        raise InvalidAdapter(
            f"{module}: with rank {rank} A is ({rank}, in) and B (out, {rank}); found {A.shape} and {B.shape}.",
            module=module,
        )
    if not (np.isfinite(A).all() and np.isfinite(B).all()):
        raise NotFinite(
            f"{module}: the factors hold NaN or an infinity. The training went wrong; get another adapter.",
            module=module,
        )


def base_id(header) -> str:
    """Which model an adapter is for: SHA-256 hex of the canonical JSON `{"family", "tensors": {name: shape}}` of a GGUF header's matrices.

    The same for every quantisation of a model. Raises InvalidGguf if the header does not say its architecture.
    """
    shapes = {name: list(info.shape) for name, info in header.tensors.items() if len(info.shape) == 2}
    return sha256(canonicalize({"family": header.architecture, "tensors": shapes})).hexdigest()


def config_of(ranks: Mapping[str, int], scales: Mapping[str, float], like: LoraConfig | None = None) -> LoraConfig:
    """The config under which each module has its rank and its scale; what `like` says of dropout and rsLoRA stays.

    What most modules have is `r` and `lora_alpha`; the others stand in the patterns, by their last name where all of that name agree.
    """
    rslora = like.use_rslora if like else False
    alphas = {path: _tidy(scales[path] * (rank**0.5 if rslora else rank)) for path, rank in ranks.items()}
    r, alpha = _commonest(ranks.values()), _commonest(alphas.values())
    return LoraConfig(
        r=r,
        lora_alpha=alpha,
        lora_dropout=like.lora_dropout if like else 0.0,
        target_modules=tuple(sorted({path.rpartition(".")[2] for path in ranks})),
        use_rslora=rslora,
        rank_pattern=_pattern(ranks, r),
        alpha_pattern=_pattern(alphas, alpha),
    )


def _commonest(values: Iterable):
    values = list(values)
    return max(dict.fromkeys(values), key=values.count)


def _tidy(value: float) -> float:
    value = float(f"{value:.12g}")  # a rank's square root came and went
    return int(value) if value.is_integer() else value


def _pattern(values: Mapping, usual) -> dict:
    """{last name or path: value} of the modules whose value is not the usual one."""
    by_name: dict[str, set] = {}
    for path, value in values.items():
        by_name.setdefault(path.rpartition(".")[2], set()).add(value)
    alone = {name: found.pop() for name, found in by_name.items() if len(found) == 1}
    made = {(name if (name := path.rpartition(".")[2]) in alone else path): value for path, value in values.items()}
    return {key: value for key, value in made.items() if value != usual}


def require_base(adapter: Adapter, header) -> None:
    """Return if the adapter can be used with a GGUF header's model. Raises AdapterMismatch with what differs."""
    found = base_id(header)
    told = differences(adapter, header)
    if not told and adapter.base_id in ("", found):
        return
    why = (
        "; ".join(told[:3])
        or "where it adapts, the sizes agree, but other tensors of that model differ (its vocabulary, for one)"
    )
    raise AdapterMismatch(
        f"The adapter {adapter.name!r} was made for another base model than this {header.architecture} model: {why}. "
        "Load the model it was trained on, or train it anew.",
        wanted=adapter.base_id,
        found=found,
        differences=told[:20],
    )


def for_base(adapter: Adapter, header) -> Adapter:
    """The adapter, naming a GGUF header's model if it named none. A signature goes then: it is not over that base.

    Raises AdapterMismatch.
    """
    require_base(adapter, header)
    if adapter.base_id:
        return adapter
    return replace(adapter, base_id=base_id(header), family=header.architecture, signature=None)


def differences(adapter: Adapter, header) -> list[str]:
    """In words, where an adapter's family, modules and shapes differ from a GGUF header's; empty where all agree."""
    if adapter.family and adapter.family != header.architecture:
        return [f"it is for the family {adapter.family!r}"]
    found, told = places(header), []
    for module, (A, B) in adapter.tensors.items():
        if module not in found:
            told.append(f"this model has nothing to adapt at {module}")
            continue
        wanted = (found[module][0].width, sum(place.last - place.first for place in found[module]))
        if (A.shape[1], len(B)) != wanted:
            told.append(
                f"{module} takes {A.shape[1]} numbers to {len(B)}, and in this model {wanted[0]} to {wanted[1]}"
            )
    return told


def other_file(adapter: Adapter, file_sha256: str) -> dict | None:
    """A notice `{code, message}` if the adapter was trained on another file of its base (another quantisation), which is no error.

    None also where one of the two hashes is not known ("").
    """
    if not file_sha256 or adapter.base_sha256 in ("", file_sha256):
        return None
    return {
        "code": "adapter_other_file",
        "message": f"The adapter {adapter.name!r} was trained on another file of this model ({adapter.base_sha256[:12]}…, this one is "
        f"{file_sha256[:12]}…), probably another quantisation: it works, slightly less well.",
    }
