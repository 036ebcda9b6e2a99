"""A model's Jinja template, run as what it is: a stranger's program. Runs where jinja2 is; sandboxed, with limits on work and size.

The dialect is that of transformers (`apply_chat_template`): trimmed blocks, loop controls, `raise_exception`, `strftime_now`,
`tojson` without HTML escapes, `{% generation %}`. Loops, calls, filters and operators spend from one allowance, so that nothing runs
for ever and nothing grows without bound.
"""

import functools
import json
import math
import re

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.filters import make_attrgetter
from jinja2.runtime import Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from ..errors import ChatTemplateInvalid, ChatTemplateRefused, MessagesRefused

LONGEST_TEMPLATE = 400_000  # characters
_ALLOWANCE = 4_000_000  # one for each step, and for each character or item that a step reads
_PER_CHARACTER = 40  # more allowance for each character of the messages: templates read them several times
_LARGEST = 4_000_000  # characters or items of one value
_MOST_MADE = 2**26  # characters that one replacement, joining, indenting or repetition could make
_MULTIPLYING = frozenset(("replace", "join", "indent"))
_SHALLOW = frozenset(  # filters whose work grows with the number of items, not with what they hold
    "abs attr batch count d default first float int items last length list map reject rejectattr reverse round select "
    "selectattr slice".split()
)
_WIDE = re.compile(r"\{[^{}\"]*:[^{}\"]*(\d{4}|\{)")  # a width in a format string that is large, or given by a value
_METHODS = {
    str: frozenset(
        "capitalize count endswith find isalnum isalpha isdigit islower isspace isupper join lower lstrip removeprefix removesuffix "
        "replace rfind rsplit rstrip split splitlines startswith strip title upper".split()
    ),
    dict: frozenset("get items keys values".split()),
    list: frozenset("count index".split()),
    tuple: frozenset("count index".split()),
    int: frozenset(),
    float: frozenset(),
}
_FILTERS = _SHALLOW | frozenset(
    "capitalize dictsort e escape groupby indent join lower max min replace safe sort string sum title tojson trim unique upper "
    "wordcount".split()
)


def run_template(template: str, values: dict, now=None) -> str:
    """The text that `template` makes of `values` (JSON data); `now`, a datetime, is what `strftime_now` prints.

    Raises ChatTemplateInvalid when it cannot be read or fails, ChatTemplateRefused when it passes a limit or reaches for what it may
    not touch, MessagesRefused when it calls `raise_exception`.
    """
    if len(template) > LONGEST_TEMPLATE:
        raise ChatTemplateRefused(
            f"The chat template has {len(template)} characters; at most {LONGEST_TEMPLATE} are read."
        )
    sandbox = _Sandbox(now)
    try:
        return sandbox.render(template, values)
    except jinja2.exceptions.SecurityError as error:
        raise ChatTemplateRefused(
            f"The chat template reaches for what it may not touch: {error}. Use another model file."
        ) from error
    except (RecursionError, MemoryError) as error:
        raise ChatTemplateRefused("The chat template runs too deep. Use another model file.") from error
    except jinja2.TemplateError as error:
        raise ChatTemplateInvalid(f"The chat template cannot be used: {error}. Use another model file.") from error
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
        text = f"The chat template failed on these messages: {error}. Check that each has a role and a content."
        raise ChatTemplateInvalid(text) from error


def weight(*values) -> int:
    """How much `values` hold: characters and items, shared ones as often as they would be written. Raises ChatTemplateRefused above
    the limit.
    """
    total, stack = 0, list(values)
    while stack:
        value = stack.pop()
        total += len(value) if isinstance(value, str) else 1
        if isinstance(value, dict):
            stack.extend(value)
            stack.extend(value.values())
        elif isinstance(value, list | tuple | set):
            stack.extend(value)
        if total > _LARGEST:
            raise ChatTemplateRefused(
                f"The chat template makes values of more than {_LARGEST} characters. Use another model file."
            )
    return total


def _items(value) -> int:
    return len(value) if isinstance(value, str | list | tuple | dict) else 1


class _Generation(Extension):
    """`{% generation %}` marks what the assistant says; it changes no text."""

    tags = frozenset(("generation",))

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


class _Meter(NodeTransformer):
    """Every turn of a loop and every call of a macro spends a step; `~` goes through `joined`."""

    def _with_step(self, node):
        self.generic_visit(node)
        step = nodes.Call(nodes.EnvironmentAttribute("step"), [], [], None, None)
        node.body.insert(0, nodes.ExprStmt(step))
        return node

    visit_For = visit_Macro = visit_CallBlock = _with_step  # noqa: N815 - jinja2's names

    def visit_Concat(self, node):  # noqa: N802
        self.generic_visit(node)
        return nodes.Call(nodes.EnvironmentAttribute("joined"), node.nodes, [], None, None)

    def visit_Compare(self, node):  # noqa: N802 - what is compared is read
        self.generic_visit(node)
        node.expr = nodes.Call(nodes.EnvironmentAttribute("seen"), [node.expr], [], None, None)
        return node


class _Sandbox(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset(("+", "-", "*", "/", "//", "%", "**"))

    def __init__(self, now):
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[_Generation, loopcontrols],
            finalize=self.seen,
            loader=jinja2.FunctionLoader(_no_files),
        )
        self.left = _ALLOWANCE
        own = {"tojson": _tojson, "sum": self._sum}
        self.filters = {name: self._metered(name, f) for name, f in (self.filters | own).items() if name in _FILTERS}
        self.globals = {name: self.globals[name] for name in ("range", "dict", "namespace", "cycler", "joiner")}
        self.globals |= {"raise_exception": _raise, "strftime_now": functools.partial(_strftime, now)}

    def render(self, template, values):
        parts = []
        self.left += _PER_CHARACTER * weight(values)
        for part in self.from_string(template).generate(values):
            self.spend(len(part))
            parts.append(part)
        return "".join(parts)

    def _parse(self, source, name, filename):
        return _Meter().visit(super()._parse(source, name, filename))

    # --- the allowance
    def spend(self, amount):
        self.left -= amount
        if self.left < 0:
            raise ChatTemplateRefused(
                "The chat template does more work than any real one: it may never end. Use another model file."
            )

    def step(self):
        self.spend(20)

    def seen(self, value):
        self.spend(weight(value))
        return value

    def joined(self, *values):
        self.spend(weight(*values))
        return "".join(map(str, values))

    def _metered(self, name, function):
        @functools.wraps(function)  # keeps what jinja2 notes on a filter
        def filtered(*args, **kwargs):
            self._room(name, *args, *kwargs.values())
            return function(*args, **kwargs)

        return filtered

    def _room(self, name, *values):
        """Spend for a call with `values`. What multiplies makes at most their product: every letter replaced by a text."""
        self.spend(sum(map(_items, values)) if name in _SHALLOW else weight(*values))
        sizes = (
            abs(v) if isinstance(v, int) else weight(v) if isinstance(v, str | list | tuple) else 1 for v in values
        )
        if name in _MULTIPLYING and math.prod(max(1, size) for size in sizes) > _MOST_MADE:
            raise ChatTemplateRefused("The chat template would make a text out of all bounds. Use another model file.")

    def _sum(self, values, attribute=None, start=0):
        """Each addition is metered: lists and texts would be copied anew for every one of them."""
        for value in values if attribute is None else map(make_attrgetter(self, attribute), values):
            start = self.call_binop(None, "+", start, value)
        return start

    # --- what jinja2's sandbox asks
    def call(self, context, function, *args, **kwargs):
        owner = getattr(function, "__self__", None)
        owned = isinstance(owner, tuple(_METHODS))
        name = (
            "list" if isinstance(function, Macro) else function.__name__ if owned else ""
        )  # a macro only takes its arguments over
        self._room(name, *((owner,) if owned else ()), *args, *kwargs.values())
        return super().call(context, function, *args, **kwargs)

    def call_binop(self, context, operator, left, right):
        _check_numbers(operator, left, right)
        self._room("join" if operator == "*" else "list", left, right)
        result = super().call_binop(context, operator, left, right)
        if _items(result) > _LARGEST:
            raise ChatTemplateRefused(
                f"The chat template makes values of more than {_LARGEST} characters. Use another model file."
            )
        return result

    def wrap_str_format(self, value):
        if isinstance(getattr(value, "__self__", None), str) and _WIDE.search(value.__self__):
            raise ChatTemplateRefused("The chat template pads a text out of all bounds. Use another model file.")
        return super().wrap_str_format(value)

    def unsafe_undefined(self, obj, attribute):
        raise ChatTemplateRefused(
            f"The chat template reaches for {attribute!r} of a {type(obj).__name__}. Use another model file."
        )

    def is_safe_attribute(self, obj, attr, value):
        allowed = next((names for kind, names in _METHODS.items() if isinstance(obj, kind)), None)
        return super().is_safe_attribute(obj, attr, value) and (allowed is None or attr in allowed)


def _check_numbers(operator: str, left, right) -> None:
    if operator == "%" and isinstance(left, str):
        raise ChatTemplateInvalid(
            "The chat template formats text by `%`, which is not supported. Use another model file."
        )
    if (
        operator == "**"
        and not (abs(left) < 2**16 and abs(right) <= 3)
        or any(isinstance(v, int) and abs(v) > 2**53 for v in (left, right))
    ):
        raise ChatTemplateRefused("The chat template counts with numbers out of all bounds. Use another model file.")


def _no_files(name: str):
    raise ChatTemplateRefused(f"The chat template wants to read {name!r}. Use another model file.")


def _raise(message=""):
    raise MessagesRefused(f"The model's chat template refuses these messages: {message}", reason=str(message))


def _strftime(now, pattern: str) -> str:
    if now is None:
        raise ChatTemplateInvalid("The chat template prints today's date, and none was given. Pass `now`.")
    return now.strftime(pattern[:100])


def _tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    if isinstance(indent, int) and not 0 <= indent <= 16:
        raise ChatTemplateRefused("The chat template indents without bound. Use another model file.")
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
