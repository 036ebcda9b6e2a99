"""How the rooms of `pysrc/edgenet` lean on each other: no module imports, at its beginning or later, one that imports it. CPython."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2] / "pysrc"
FILES = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in ROOT.rglob("*.py")}
MODULES = {name.removesuffix(".__init__"): path for name, path in FILES.items()}


def imported(name):
    """The modules of ours that a module imports anywhere in it; what is there for types alone is left out."""
    path = MODULES[name]
    package = name.split(".") if path.stem == "__init__" else name.split(".")[:-1]
    for node in nodes(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            home = [*package[: len(package) + 1 - node.level], *([node.module] if node.module else [])]
            for alias in node.names:
                found = ".".join([*home, alias.name])
                yield found if found in MODULES else ".".join(home)


def nodes(tree):
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)):
            yield node
            yield from nodes(node)


def test_no_module_imports_one_that_imports_it():
    leans = {name: set(imported(name)) - {name} for name in MODULES}
    assert sum(map(len, leans.values())) > len(MODULES), "imports are found at all"
    while free := {n for n, on in leans.items() if not on & leans.keys() or n not in set().union(*leans.values())}:
        leans = {name: on for name, on in leans.items() if name not in free}
    assert not leans, f"these lean on each other: {sorted(leans)}"
