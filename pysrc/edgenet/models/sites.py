"""Where adapters can stand beside a model's weights, and which of these places a configuration trains. Runs anywhere."""

from collections.abc import Sequence
from typing import NamedTuple

from ..errors import UnknownTargetModule
from ..lora.config import LoraConfig
from ..lora.names import MODULES, places

# What PEFT's users call the parts of a model, whatever its own modules are called.
PARTS = {
    "attn_q": "q_proj",
    "attn_k": "k_proj",
    "attn_v": "v_proj",
    "attn_output": "o_proj",
    "ffn_gate": "gate_proj",
    "ffn_up": "up_proj",
    "ffn_down": "down_proj",
}


class Site(NamedTuple):
    """A weight that is trained beside: its name less `.weight`, its sizes, the rank, and where A (rank, in) and B (out, rank) begin in
    the flat state, in values; B A counts `scale` times.
    """

    site: str
    width: int
    out: int
    rank: int
    a: int
    b: int
    scale: float


def modules_of(header) -> dict[str, tuple[str, str, int, int]]:
    """{site: (module's path, part, in, out)} of every weight that adapters can stand beside, in the header's order."""
    found = {}
    for path, parts in places(header).items():
        names = next(n for end, n in MODULES[header.architecture].items() if path.endswith(f".{end}")).split()
        for place, part in zip(parts, names, strict=True):
            found[place.site] = path, part, place.width, place.last - place.first
    return found


def sites_of(header, lora: LoraConfig) -> tuple[Site, ...]:
    """The sites that a configuration trains, one behind the other. Raises UnknownTargetModule where the model has none of its modules."""
    made, end = [], 0
    for site, (path, part, width, out) in modules_of(header).items():
        if any(t in (path, PARTS[part]) or path.endswith(f".{t}") for t in lora.target_modules):
            rank = lora.rank_of(path)
            made.append(Site(site, width, out, rank, end, end + rank * width, lora.scale_of(path)))
            end += rank * (width + out)
    if not made:
        has = sorted({path.rpartition(".")[2] for path, *_ in modules_of(header).values()})
        raise UnknownTargetModule(
            f"None of {', '.join(lora.target_modules)} is a module of this {header.architecture} model, which has {', '.join(has)}."
        )
    return tuple(made)


def parameters_of(sites: Sequence[Site]) -> int:
    """Values of the flat state."""
    return sites[-1].b + sites[-1].out * sites[-1].rank
