"""GGUF adapters, as llama.cpp's convert_lora_to_gguf writes and llama.cpp loads them. Needs NumPy; runs anywhere.

Source: llama.cpp's llama-adapter.cpp. Tensors are `<weight>.lora_a` (r, in) and `<weight>.lora_b` (out, r) in the rows of the base's file;
the scale is `adapter.lora.alpha` / r, so what else scales is folded into lora_b. To read one, the base's header is needed.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from ..errors import AdapterMismatch, InvalidAdapter, UnsupportedAdapter
from ..formats.blocks import dequantize
from ..formats.gguf import Header, read_header
from ..formats.gguf_write import Tensor, pieces
from . import about
from .adapter import NAME, Adapter, config_of, for_base, require_base
from .bound import Factors, used
from .names import Place, places

OWN = "edgenet.adapter"  # our key in the metadata
ENDS = {"A": ".weight.lora_a", "B": ".weight.lora_b"}
ALPHA = "adapter.lora.alpha"


def write(adapter: Adapter, header: Header) -> Iterator[bytes]:
    """The bytes of a GGUF adapter, f32, for the model of a GGUF header. Raises AdapterMismatch, or NotFinite where a
    scale makes lora_b too large.

    A file whose lora_b had to be scaled, or joined, no longer holds the factors that were signed: checksum and signature stay out.
    """
    require_base(adapter, header)
    held = _by_tensor(adapter, header)
    alpha = _alpha(adapter, held.values())
    plain = all(
        len(modules) == 1 and _factor(adapter, module, modules, alpha) == 1
        for modules in held.values()
        for module in modules
    )
    metadata = {
        "general.architecture": header.architecture,
        "general.type": "adapter",
        "general.name": adapter.name,
        "adapter.type": "lora",
        ALPHA: alpha,
        OWN: about.text(adapter, vouched=plain),
    }
    joined = ((tensor, _joined(adapter, modules, alpha)) for tensor, modules in held.items())
    rows = [(tensor + ENDS[factor], array) for tensor, pair in joined for factor, array in zip("AB", pair, strict=True)]
    return pieces(
        metadata,
        [Tensor(name, "f32", array.shape, np.ascontiguousarray(array, "<f4").tobytes()) for name, array in rows],
    )


def _by_tensor(adapter: Adapter, header: Header) -> dict[str, dict[str, list[Place]]]:
    """{tensor: {module: its rows there}}."""
    held: dict[str, dict[str, list[Place]]] = {}
    for module, parts in places(header).items():
        for part in parts if module in adapter.tensors else ():
            held.setdefault(part.tensor, {}).setdefault(module, []).append(part)
    return held


def _alpha(adapter: Adapter, tensors: Iterable[Iterable[str]]) -> float:
    """That with which most modules need no factor, as the file holds it: an f32."""
    made = [float(np.float32(adapter.scale(name) * _rank(adapter, beside))) for beside in tensors for name in beside]
    return max(dict.fromkeys(made), key=made.count)


def _rank(adapter: Adapter, beside: Iterable[str]) -> int:
    return sum(len(adapter.tensors[name][0]) for name in beside)


def _factor(adapter: Adapter, module: str, beside: Iterable[str], alpha: float) -> float:
    """What a module's B is multiplied by, so that alpha / (rank of the whole tensor) makes its scale."""
    rank, scale = _rank(adapter, beside), adapter.scale(module)
    return 1.0 if np.float32(alpha / rank) == np.float32(scale) else scale * rank / alpha


def _joined(adapter: Adapter, modules: dict[str, list[Place]], alpha: float) -> Factors:
    """One A and B of a tensor: each module's directions side by side, in its rows."""
    rows, at = next(iter(modules.values()))[0].rows, 0
    B = np.zeros((rows, sum(len(adapter.tensors[module][0]) for module in modules)), np.float32)
    for module, parts in modules.items():
        A, values = adapter.tensors[module]
        for part in parts:
            rows = adapter.scaled(part.to_file(values), module, _factor(adapter, module, modules, alpha))
            B[part.first : part.last, at : at + len(A)] = rows
        at += len(A)
    return np.concatenate([adapter.tensors[module][0] for module in modules]), B


def read(data: bytes, base: Header, what: str = "adapter") -> Adapter:
    """The adapter of a GGUF file's bytes, for the model of a header.

    Raises InvalidGguf, InvalidAdapter, UnsupportedAdapter, AdapterMismatch, NotFinite, HashMismatch, or UnsupportedTensorType for
    factors in a type that cannot be read.
    """
    header = read_header(lambda offset, length: data[offset : offset + length], len(data), what)
    _require_lora(header, base, what)
    pairs = _pairs(header, data, what)
    alpha = header.get(ALPHA, float, 0.0)
    tensors, scales = {}, {}
    for module, parts in places(base).items():
        if parts[0].tensor in pairs and len({part.tensor for part in parts}) == 1:
            A, B = pairs[parts[0].tensor]
            if made := _module(A, B, parts, f"{what}: {module}"):
                tensors[module], scales[module] = made, alpha / len(A) if alpha else 1.0  # as llama.cpp has it
    if left := set(pairs) - {part.tensor for parts in places(base).values() for part in parts}:
        raise AdapterMismatch(
            f"{what} adapts {sorted(left)[0][:80]!r}, and this {base.architecture} model has nothing to adapt there."
        )
    if not tensors:
        raise InvalidAdapter(f"{what} changes nothing: it has no factors that are not zero.")
    config = config_of({path: len(A) for path, (A, _) in tensors.items()}, scales)
    adapter = Adapter(config, tensors, name=_name(header, what))
    return for_base(about.restored(adapter, header.get(OWN, str, None), what), base)


def _name(header: Header, what: str) -> str:
    return next((name for name in (header.get("general.name", str, ""), what) if NAME.test(name)), "adapter")


def _require_lora(header: Header, base: Header, what: str) -> None:
    kind, method = header.get("general.type", str, "model"), header.get("adapter.type", str, "")
    if kind != "adapter" or method != "lora":
        raise InvalidAdapter(
            f"{what} is a GGUF file of a {kind[:40]}{f' ({method[:40]})' if method else ''}, not of a LoRA adapter."
        )
    if "adapter.alora.invocation_tokens" in header.metadata:
        raise UnsupportedAdapter(f"{what} works after certain tokens alone (activated LoRA); EdgeNet has plain LoRA.")
    if header.architecture != base.architecture:
        raise AdapterMismatch(
            f"{what} is for the architecture {header.architecture[:60]!r}, and the base model is {base.architecture!r}. Give its own base.",
            wanted=header.architecture[:200],
            found=base.architecture,
        )


def _pairs(header: Header, data: bytes, what: str) -> dict[str, Factors]:
    """{tensor of the base, less `.weight`: (A, B)}."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for info in header.tensors.values():
        factor = next((factor for factor, end in ENDS.items() if info.name.endswith(end)), None)
        if factor is None or len(info.shape) != 2:
            raise UnsupportedAdapter(
                f"{what} holds {info.name[:80]!r} of shape {info.shape}; EdgeNet reads the two factors of matrices alone."
            )
        values = dequantize(info.type, data[info.offset : info.offset + info.bytes], *info.shape)
        found.setdefault(info.name.removesuffix(ENDS[factor]), {})[factor] = values
    if alone := next((name for name, pair in found.items() if len(pair) < 2), None):
        raise InvalidAdapter(
            f"{what}: {alone[:80]!r} has factor {next(iter(found[alone]))} and not the other.", tensor=alone
        )
    return {name: (pair["A"], pair["B"]) for name, pair in found.items()}


def _module(A: np.ndarray, B: np.ndarray, parts: tuple[Place, ...], where: str) -> Factors | None:
    """A module's factors out of those of the tensor that holds it; None if they are zero."""
    if (A.shape[1], len(B)) != (parts[0].width, parts[0].rows) or len(A) != B.shape[1]:
        raise AdapterMismatch(
            f"{where}: factors {A.shape} and {B.shape} do not fit its {parts[0].rows} x {parts[0].width} weights. Give its own base."
        )
    rows = np.concatenate([part.from_file(B[part.first : part.last]) for part in parts])
    if len(rows) == len(B):
        return A, rows
    made = used(A, rows)  # beside others in one tensor: the directions that are its own
    return made if len(made[0]) else None
