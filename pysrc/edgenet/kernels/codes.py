"""Return codes of kernels (ADR-005) and the error each becomes. Runs anywhere."""

from __future__ import annotations

from ..errors import KernelTrap

OK, INVALID_INPUT, INVALID_OUTPUT, INVALID_PARAMS, OUT_OF_MEMORY, NOT_IMPLEMENTED, INTERNAL_ERROR = range(7)
NAMES = (
    "OK",
    "INVALID_INPUT",
    "INVALID_OUTPUT",
    "INVALID_PARAMS",
    "OUT_OF_MEMORY",
    "NOT_IMPLEMENTED",
    "INTERNAL_ERROR",
)


def code_name(code: int) -> str:
    """The code's name; any value outside the table counts as INTERNAL_ERROR."""
    return NAMES[code] if 0 <= code < len(NAMES) else NAMES[INTERNAL_ERROR]


def raise_for_code(code: int, kernel: str) -> None:
    """Raise KernelTrap for every code but OK; `details.returned` is the number, `details.name` its name."""
    if code != OK:
        name = code_name(code)
        raise KernelTrap(
            f'The kernel "{kernel}" returned {code} ({name}). Check shapes and that every value is finite.',
            kernel=kernel,
            returned=code,
            name=name,
        )
