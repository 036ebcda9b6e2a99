"""Compiling a GGUF model for the page: what the Python worker answers. No NumPy, no state. Pyodide, and CPython in tests.

The page holds the files and Python asks for ranges of them: an answer is {"wanted": [file, offset, length]} until enough of them was sent
along. So a model at an address is judged before its weights are fetched, and nothing here opens anything.
"""

from ..errors import EdgeNetError, InvalidGguf, UnknownKind
from ..formats.gguf_split import part_names, read_parts
from ..models.compiled import compile_gguf, default_capacity, part_of, read_values

__all__ = ["answer", "read_model"]


class Wanted(Exception):  # noqa: N818
    """A range of a file that was not sent."""


class Files:
    """Names and sizes of a model's files, and the ranges of them that were sent: each is read exactly as it was asked for."""

    def __init__(self, files, ranges):
        self.sizes = {name: int(size) for name, size in files}
        self.known = {(name, int(offset)): bytes(data) for name, offset, data in ranges}

    def open(self, name):
        """(read, size), as `read_header` wants them."""
        if name not in self.sizes:
            raise InvalidGguf(f"{name} is missing; the model is in several files. Give all of them.", file=name)
        return lambda offset, length: self.read(name, offset, length), self.sizes[name]

    def read(self, name, offset, length):
        if (name, offset) not in self.known:
            raise Wanted(name, offset, length)
        return self.known[name, offset]


def _read(known, names):
    """(header, values) of the model in the files `names`. Raises Wanted."""
    header = read_parts(names[0], known.open)
    return header, read_values(header, lambda part, offset, length: known.read(names[part], offset, length))


async def read_model(filenames, sizes, fetch):
    """(header, values) of a model that somebody else holds: its header is read, by ranges, and a few short tensors.

    `filenames`, `sizes`: of its artifacts, {artifact: …}; `fetch(artifact, offset, length)`: a coroutine of the bytes there.
    """
    artifacts = {filenames[artifact]: artifact for artifact in sorted(sizes, key=part_of)}
    known = Files([(name, sizes[artifact]) for name, artifact in artifacts.items()], [])
    names = part_names(next(iter(artifacts)))
    while True:
        try:
            return _read(known, names)
        except Wanted as wanted:
            name, offset, length = wanted.args
            known.known[name, offset] = bytes(await fetch(artifacts[name], offset, length))


def compile_files(files, ranges, context=None):
    """{"program", "tokenizer", "generation", "memory", "names"} of a GGUF model, or {"wanted": [file, offset, length]}.

    `files`: [[name, size], …], one or all parts of a split model, in any order; `ranges`: [[file, offset, bytes], …] as wanted before.
    "names": the files in the order of the Program's artifacts. Raises InvalidGguf and what `compile_gguf` raises.
    """
    names = part_names(files[0][0])
    try:
        header, values = _read(Files(files, ranges), names)
    except Wanted as wanted:
        return {"wanted": list(wanted.args)}
    made = compile_gguf(header, default_capacity(header, context or 0), values)
    beside = {"tokenizer": made.tokenizer, "generation": made.generation, "memory": made.memory}
    return {"program": made.program.to_data(), **beside, "names": names}


KINDS = {"compile": compile_files}


def answer(kind, args):
    """One message's answer; errors are data."""
    try:
        if kind not in KINDS:
            raise UnknownKind(f'Compiling has no kind "{kind}". It answers: {", ".join(KINDS)}.', kind=kind)
        return {"result": KINDS[kind](**args)}
    except EdgeNetError as error:
        return {"error": error.to_data()}
