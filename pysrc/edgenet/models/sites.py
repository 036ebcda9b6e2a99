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
    the flat state, in values.
    """

    site: str
    width: int
    out: int
    rank: int
    a: int
    b: int


class Module(NamedTuple):
    """What a site is part of: a module's path, in PEFT's words, and which part of the model it is; the site's own sizes."""

    path: str
    part: str
    width: int
    out: int


def modules_of(header) -> dict[str, Module]:
    """{site: module} of every weight that adapters can stand beside, in the header's order."""
    found = {}
    for path, parts in places(header).items():
        names = next(n for end, n in MODULES[header.architecture].items() if path.endswith(f".{end}")).split()
        for place, part in zip(parts, names, strict=True):
            found[place.site] = Module(path, part, place.width, place.last - place.first)
    return found


def sites_of(header, lora: LoraConfig) -> tuple[Site, ...]:
    """The sites that a configuration trains, one behind the other. Raises UnknownTargetModule where the model has none of its modules."""
    modules, made, end = modules_of(header), [], 0
    for site, module in modules.items():
        if any(t in (module.path, PARTS[module.part]) or module.path.endswith(f".{t}") for t in lora.target_modules):
            rank = lora.rank_of(module.path)
            made.append(Site(site, module.width, module.out, rank, end, end + rank * module.width))
            end += rank * (module.width + module.out)
    if not made:
        has = sorted({module.path.rpartition(".")[2] for module in modules.values()})
        raise UnknownTargetModule(
            f"None of {', '.join(lora.target_modules)} is a module of this {header.architecture} model, which has {', '.join(has)}."
        )
    return tuple(made)


def parameters_of(sites: Sequence[Site]) -> int:
    """Values of the flat state."""
    return sites[-1].b + sites[-1].out * sites[-1].rank
