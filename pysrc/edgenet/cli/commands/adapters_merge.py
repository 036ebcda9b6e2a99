"""`adapters merge`: several adapters made into one, or into their base's GGUF file. Imports nothing heavy until called."""

from pathlib import Path
from typing import Annotated

import typer

from ...errors import InvalidOption
from ..progress import progress
from ..shell import Json, Result, command
from ..text import megabytes, table

MODULES = {"module": "MODULE", "error": "LEFT OUT"}
TENSORS = {"tensor": "TENSOR", "from": "WAS", "to": "IS", "error": "ROUNDING"}

Number, Whole, Words = float | None, int | None, str | None
Adapters = Annotated[
    list[str], typer.Argument(help="Names of kept adapters, folders of PEFT or files, of one base model.")
]
Strategy = Annotated[
    str,
    typer.Option(
        "--strategy",
        "--method",
        help="average, weighted, task_arithmetic, slerp, ties, dare_linear (or dare) or dare_ties.",
    ),
]
Method = Annotated[
    Words, typer.Option(help="ties, dare_ties: signs go by mass, total (so else), or by number, frequency.")
]
Kind = Annotated[
    str, typer.Option("--type", help="With --into: type of the matrices that change, such as q8_0 (else as they are).")
]
Evaluate = Annotated[
    Words, typer.Option(help="With --into: a file or folder of texts, whose loss is told before and after.")
]


def register(group: typer.Typer) -> None:
    """Add the command of this module to the group `adapters`."""
    command(
        group,
        "merge",
        "adapters merge ./poems ./recipes --output ./both",
        "adapters merge ./poems ./recipes --weights 0.7,0.3 --rank 8 --output ./both",
        "adapters merge ./poems ./recipes --strategy ties --density 0.3 --output ./both",
        "adapters merge ./poems ./shouting --strategy task_arithmetic --weights 1,-0.5 --output ./calm",
        "adapters merge ./both --into model-q8_0.gguf --output model-both-q8_0.gguf",
    )(merge)


async def merge(
    ctx: typer.Context,
    adapters: Adapters,
    output: Annotated[str, typer.Option(help="Folder for the new adapter; with --into the new GGUF file.")],
    strategy: Strategy = "weighted",
    weights: Annotated[Words, typer.Option(help="One number per adapter, such as 0.7,0.3 (else all 1).")] = None,
    interpolation: Annotated[
        Number, typer.Option(help="slerp: 0 is the first adapter, 1 the second (else 0.5).")
    ] = None,
    density: Annotated[Number, typer.Option(help="ties, dare: share of each change that is kept (else 0.5).")] = None,
    scaling: Annotated[Number, typer.Option(help="ties, dare_ties: factor of the result (else 1).")] = None,
    majority_sign_method: Method = None,
    rank: Annotated[Whole, typer.Option(help="Rank of the result (else the adapters' largest).")] = None,
    seed: Annotated[Whole, typer.Option(help="ties, dare: seed of what is drawn (else 42).")] = None,
    name: Annotated[str, typer.Option(help="Name of the new adapter.")] = "",
    into: Annotated[Words, typer.Option(help="GGUF file of the base that the adapters are merged into.")] = None,
    kind: Kind = "",
    evaluate: Evaluate = None,
    as_json: Json = False,
):
    """Merge adapters of one base model.

    Into one adapter, or into the model itself; how much of them was left out is told.
    """
    _require_into(into, kind, evaluate)
    options = _options(
        strategy=strategy, weights=_numbers(weights), interpolation=interpolation, density=density, scaling=scaling,
        majority_sign_method=majority_sign_method, rank=rank, seed=seed,
    )  # fmt: skip
    base = _base(into, Path(output))
    if not base:
        return await _adapter(ctx.obj, adapters, options, name, output)
    merged = await _merged(ctx.obj, adapters, options, name, base.header)
    return await _into(ctx.obj, base, merged, Path(output), kind, evaluate)


async def _adapter(shell, adapters: list[str], options, name: str, output: str) -> Result:
    from ..adapter_files import require_free, write_adapter

    require_free(shell, Path(output))
    merged = await _merged(shell, adapters, options, name)
    write_adapter(shell, merged.adapter, Path(output))
    return Result({"path": output, **merged.report}, _merged_text(merged, output))


async def _merged(shell, adapters: list[str], options, name: str, header=None):
    """`Merged`; for a base, whose header that is, of a rank that leaves nothing out unless one was asked for."""
    from ...lora import merge as merging
    from ..adapter_pool import find_vouched

    found = [await find_vouched(shell, adapter, header) for adapter in adapters]
    work = merging.merge_whole if header else merging.merge
    with progress(shell, "Merging", "module") as show:
        return await work(found, options, name=name, show=show)


def _require_into(into: str | None, kind: str, evaluate: str | None) -> None:
    for option, given in (("type", kind), ("evaluate", evaluate)):
        if given and not into:
            raise InvalidOption(f"--{option} is about merging into a base; give --into BASE.gguf too.", option=option)
    if evaluate and not Path(evaluate).expanduser().exists():  # said before the model is written
        raise InvalidOption(f"There is no file or folder {evaluate}.", option="evaluate")


def _options(**given):
    """MergeOptions of what was given."""
    from ...lora.strategies import MergeOptions

    return MergeOptions(**{option: value for option, value in given.items() if value is not None})


def _numbers(text: str | None) -> tuple[float, ...] | None:
    try:
        return text and tuple(map(float, text.split(",")))
    except ValueError as error:
        raise InvalidOption(
            f"--weights must be numbers with commas between them, such as 0.7,0.3; found {text!r}.", option="weights"
        ) from error


def _base(into: str | None, output: Path):
    """The base's GGUF files. Raises ModelNotFound, InvalidGguf, and InvalidOption where the output is one of them, or another file."""
    from ...host.gguf_files import GgufFiles

    base = GgufFiles(into) if into else None
    if base and output.resolve() in [path.resolve() for path in base.paths]:
        raise InvalidOption(f"--output {output} is the base itself, which is kept. Name another file.", option="output")
    if base and output.exists():
        raise InvalidOption(f"{output} is there already. Choose another --output, or remove it first.", option="output")
    return base


async def _into(shell, base, merged, output: Path, kind: str, texts: str | None) -> Result:
    from ...lora.into_base import merged_into_base

    with progress(shell, "Writing") as show, shell.disk.writing(output) as put:

        async def read(part: int, offset: int, length: int) -> bytes:
            return base.read(part, offset, length)

        async def write(piece: bytes) -> None:
            put(piece)

        report = await merged_into_base(base.header, read, merged.adapter, write, type_name=kind, show=show)
    data = {"path": str(output), **merged.report, "into": report}
    rows = [row | {"error": _percent(row["error"])} for row in report["tensors"]]
    text = f"{table(rows, TENSORS)}\n\n{_rounding(report)}. {output} has {megabytes(report['bytes'])}."
    if texts:
        before, after = data["evaluation"] = [await _evaluated(shell, path, texts) for path in (base.paths[0], output)]
        text += f" Loss per token on {texts}: {before['loss']:.4f} before, {after['loss']:.4f} after."
    return Result(data, text)


async def _evaluated(shell, model: Path, texts: str) -> dict:
    from ...lora.evaluate import LENGTH
    from ..training import run_evaluation

    return (await run_evaluation(shell, str(model), [texts], None, LENGTH)).data


def _rounding(report: dict) -> str:
    """What quantising anew cost; where types change, the weights that were there are rounded too."""
    told = f"Rounding is {_percent(report['error'])} of what the adapter changes"
    changes = {(row["from"], row["to"]) for row in report["tensors"] if row["from"] != row["to"]}
    if not changes:
        return told
    pairs = " or ".join(f"were {old} and are {new} now" for old, new in sorted(changes))
    return f"{told}, with that of the base's own weights, which {pairs}"


def _merged_text(merged, output: str) -> str:
    adapter, report = merged
    rows = [{"module": path, "error": _percent(error)} for path, error in report["modules"].items()]
    kept = f"Rank {report['rank']} leaves out {_percent(report['error'])} of the merged change"
    return f"{table(rows, MODULES)}\n\n{kept}. {adapter.name!r} is in {output}."


def _percent(share: float) -> str:
    return f"{share:.2%}"
