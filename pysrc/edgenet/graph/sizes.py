"""Symbolic sizes: shape patterns such as "r heads*head_dim" matched against shapes, and evaluated. Runs anywhere."""

import operator
import re

Shape = tuple[int | str, ...]
Known = dict[str, int | str]
_SIGNS = {"": operator.mul, "*": operator.mul, "/": operator.floordiv, "+": operator.add}
_TERM = re.compile(r"([*/+]?)([A-Za-z_]\w*|\d+)")


def evaluate(text: str, known: Known) -> int | str | None:
    """The value of products, quotients and sums of sizes, strictly left to right: `a+b*c` is (a + b) * c. None where it names an unknown
    size, multiplies a symbol, or a division leaves a rest. A lone symbolic size is itself.
    """
    value = 1
    for sign, name in _TERM.findall(text):
        size = int(name) if name.isdigit() else known.get(name)
        if text == name:
            return size
        if not isinstance(size, int) or not isinstance(value, int) or (sign == "/" and (not size or value % size)):
            return None
        value = _SIGNS[sign](value, size)
    return value


def match(pattern: str, shape: Shape, known: Known) -> bool:
    """Whether the shape fits the pattern. A name not yet in `known` takes the shape's size, and is known from then on."""
    terms = pattern.split()
    if len(terms) != len(shape):
        return False
    for term, size in zip(terms, shape, strict=True):
        if term.isidentifier() and term not in known:
            known[term] = size
        elif evaluate(term, known) != size:
            return False
    return True


def resolve(pattern: str, known: Known) -> Shape:
    """The shape that the pattern stands for, all its names being known."""
    return tuple(evaluate(term, known) for term in pattern.split())


def shown(pattern: str, known: Known) -> str:
    """The pattern as an error message shows it: names with their values, as `(r, heads*head_dim = 64)`."""
    terms = []
    for term in pattern.split():
        value = evaluate(term, known)
        terms.append(term if value is None or value == term else f"{term} = {value}")
    return f"({', '.join(terms)})"
