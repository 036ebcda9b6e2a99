"""Names of some rows of a tensor, `tensor[first:last]`, which to a Program are a weight of their own. Pure; runs anywhere."""

import re

_RANGE = re.compile(r"(.+)\[(\d{1,15}):(\d{1,15})\]", re.ASCII | re.DOTALL)


def ranged(tensor: str, first: int, last: int, rows: int) -> str:
    """The name of the rows from `first` to the one before `last` of a tensor of `rows`; all of them have the tensor's own."""
    return tensor if last - first == rows else f"{tensor}[{first}:{last}]"


def range_of(name: str) -> tuple[str, int, int] | None:
    """(tensor, first row, row behind the last) of such a name; None of a whole tensor's."""
    found = _RANGE.fullmatch(name)
    return found and (found[1], int(found[2]), int(found[3]))
