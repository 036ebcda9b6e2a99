"""What an engine needs to take adapters of a model, as one document; how large its pool is. Needs NumPy; runs anywhere."""

from ..errors import NotSupported
from ..graph import Capacity
from ..lora.adapter import base_id
from .sites import modules_of
from .training import AdaptedProgram, Values, adapted_program

FORMAT, VERSION = "edgenet-adapted", 1
SLOTS = 16
POOL = 32 << 20  # bytes of a pool, within what follows
RANKS = 32, 128  # at all sites together: four adapters of rank 8 at least, sixteen at most


def pool_values(header) -> int:
    """f32 values of the pool that is planned for a GGUF header's model."""
    rank = sum(m.width + m.out for m in modules_of(header).values())  # values of one
    return rank * sorted((POOL // (4 * rank), *RANKS))[1]


def compile_adapted(header, capacity: Capacity, numbers: Values | None = None) -> AdaptedProgram:
    """The Program of a header that takes adapters, with the pool that is planned for it. `numbers`: as `models.build` takes them.

    Raises NotSupported for a model without a place for them, and what `adapted_program` raises.
    """
    if not capacity.sample or not modules_of(header):
        raise NotSupported(
            f"Adapters are for models that generate text; this one is of the architecture {header.architecture}."
        )
    return adapted_program(header, capacity, SLOTS, pool_values(header), numbers)


def document(header, capacity: Capacity, numbers: Values | None = None) -> dict:
    """JSON data: `format`, `version`, `base_id`, `sites` as [site, in, out] in the order of the table, and the Program.

    Raises as `compile_adapted`.
    """
    made = compile_adapted(header, capacity, numbers)
    beside = {
        "base_id": base_id(header),
        "sites": [list(site) for site in made.sites],
        "program": made.program.to_data(),
    }
    return {"format": FORMAT, "version": VERSION, **beside}
