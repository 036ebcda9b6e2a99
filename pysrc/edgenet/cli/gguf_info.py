"""`info` of a GGUF file: what its header tells, as data and as text. Reads no weights. CPython."""

from pathlib import Path

from ..errors import InvalidOption
from .text import megabytes, table

MIX = {"type": "TYPE", "tensors": "TENSORS", "weights": "WEIGHTS", "size": "SIZE"}
TENSORS = {"name": "TENSOR", "type": "TYPE", "shape": "SHAPE", "size": "SIZE"}


def header_of_file(path: str):
    """The header of a GGUF file of this machine, all parts of a split one together. Raises as `GgufFiles`."""
    from ..host.gguf_files import GgufFiles

    return GgufFiles(path).header


def header_of_model(shell, model):
    """The header of a complete cached model whose `model` is a GGUF file; None for another one."""
    from ..formats.gguf import read_header
    from ..formats.gguf_split import join

    parts = [a for name, a in model.manifest["artifacts"].items() if a["filename"].endswith(".gguf")]
    if not parts or not shell.store.complete(model):
        return None
    headers = [_header(shell.store.path(part["merkleRoot"]), read_header) for part in parts]
    return join(headers, [part["filename"] for part in parts])


def _header(path: Path, read_header):
    with path.open("rb") as file:

        def read(offset: int, length: int) -> bytes:
            file.seek(offset)
            return file.read(length)

        return read_header(read, path.stat().st_size, path.name)


def told(header, context: int, kv: str) -> dict:
    """`describe` of the header, with its `memory` for `context` tokens (0: the usual), and whether the engine runs its architecture."""
    from ..formats.gguf_info import describe, memory
    from ..kernels.lm.table import KV_NAMES
    from ..models.table import ARCHITECTURES

    if kv not in KV_NAMES:
        raise InvalidOption(f"--kv must be one of {', '.join(KV_NAMES)}; found {kv!r}.", kv=kv)
    data = describe(header)
    return {**data, "memory": memory(header, context, kv), "supported": data["architecture"] in ARCHITECTURES}


def tensors(header) -> list[dict]:
    """One row per tensor, in the file's order."""
    return [
        {"name": t.name, "type": t.type, "shape": list(t.shape), "offset": t.offset, "bytes": t.bytes, "part": t.part}
        for t in header.tensors.values()
    ]


def summary(data: dict, rows: list[dict] | None = None) -> str:
    """The text of what `told` and, if asked for, `tensors` found."""
    lines = [f"{data['name'] or 'A model'}: {data['parameters']:,} weights, {data['quantization'] or 'no tensors'}"]
    lines += [f"  {name:<11} {text}" for name, text in _lines(data) if text]
    mix = [
        {"type": kind, "tensors": row["tensors"], "weights": row["weights"], "size": megabytes(row["bytes"])}
        for kind, row in data["types"].items()
    ]
    lines += ["", table(mix, MIX)] if mix else []
    if rows is not None:
        shown = [{**row, "shape": " x ".join(map(str, row["shape"])), "size": megabytes(row["bytes"])} for row in rows]
        lines += ["", table(shown, TENSORS)]
    return "\n".join(lines)


def _lines(data: dict):
    """(heading, text or "") pairs."""
    yield "runs", "" if data["supported"] else "no: EdgeNet does not build this architecture"
    yield "family", data["architecture"] or "unknown"
    yield "file", f"{megabytes(data['size'])}, GGUF version {data['version']}, {data['tensors']} tensors"
    yield "context", data["context"] and f"{data['context']} tokens"
    heads = f"{data['heads']} heads, {data['kvHeads'] or data['heads']} of K and V"
    yield "layers", data["layers"] and f"{data['layers']}, {data['width']} wide, {heads}"
    names = " ".join(filter(None, (data["tokenizer"], data["pretokenizer"])))
    yield "tokenizer", f"{names or 'none'}, {data['vocabulary']} tokens" if data["vocabulary"] else names
    yield "chat", "has a template" if data["chatTemplate"] else "has no template"
    yield "license", data["license"]
    if memory := data["memory"]:
        parts = f"weights {megabytes(memory['weights'])}, K and V {megabytes(memory['kv'])}, work about {megabytes(memory['work'])}"
        much = (
            f"; too much: the engine can have {megabytes(memory['limit'])}" if memory["total"] > memory["limit"] else ""
        )
        yield "memory", f"{megabytes(memory['total'])} at {memory['context']} tokens: {parts}{much}"
