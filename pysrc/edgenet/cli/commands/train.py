"""`train` and `eval`: teach a language model from texts of your own, and measure how well it foretells them. Imports nothing heavy until
called.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ...errors import InvalidOption
from ...lora.config import DEFAULT_PRESET, PRESETS, Preset
from ..shell import Json, command

Model = Annotated[str, typer.Argument(help="A GGUF file, the id of a model, or hf:owner/name/file.gguf.")]
Data = Annotated[
    list[str],
    typer.Argument(
        help="Files and folders of texts; a .jsonl file has a text or {input, output} on each line. - is standard input."
    ),
]
Number, Whole, Words = float | None, int | None, str | None  # None: as the preset says
# option → field of LoraConfig, of TrainingConfig
LORA = {
    "rank": "r",
    "alpha": "lora_alpha",
    "dropout": "lora_dropout",
    "modules": "target_modules",
    "rslora": "use_rslora",
}
TRAINING = {
    "steps": "max_steps",
    "epochs": "max_epochs",
    "length": "max_length",
    "batch": "batch_size",
    "accumulate": "gradient_accumulation",
    "lr": "learning_rate",
    "warmup": "warmup_steps",
    "checkpointing": "gradient_checkpointing",
    "mask": "mask_probability",
} | {name: name for name in (
    "scheduler", "optimizer", "clip", "weight_decay", "strength", "validation", "evaluate_every", "patience", "checkpoint_every",
    "objective", "dots", "seed",
)}  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(
        app,
        "train",
        "train python-completion-7m-q8 ./my-project --output my-style",
        "train model-q8_0.gguf notes.md answers.jsonl --output mine --preset coder --steps 300",
        "train model-q8_0.gguf notes.md --output mine --resume",
    )(train)
    command(
        app,
        "eval",
        "eval python-completion-7m-q8 ./other-project",
        "eval model-q8_0.gguf held-back.md --adapter mine --json",
    )(evaluate)


async def train(
    ctx: typer.Context,
    model: Model,
    data: Data,
    output: Annotated[str, typer.Option(help="Folder for the adapter (PEFT) and its checkpoints.")],
    preset: Annotated[str, typer.Option(help=f"Where to begin from: {', '.join(PRESETS)}.")] = DEFAULT_PRESET,
    rank: Annotated[Whole, typer.Option(help="Rank of the adapter, 1 to 256.")] = None,
    alpha: Annotated[Number, typer.Option(help="Its scale is alpha / rank.")] = None,
    dropout: Annotated[Number, typer.Option(help="Share of inputs left out while training.")] = None,
    modules: Annotated[Words, typer.Option(help="Of q,k,v,o,gate,up,down, with commas between.")] = None,
    rslora: Annotated[bool, typer.Option("--rslora", help="The scale is alpha / sqrt(rank).")] = False,
    steps: Annotated[Whole, typer.Option(help="Most steps.")] = None,
    epochs: Annotated[Whole, typer.Option(help="Most times through the data; 0: as steps say.")] = None,
    length: Annotated[Whole, typer.Option(help="Tokens of a row.")] = None,
    batch: Annotated[Whole, typer.Option(help="Rows at once, 1 to 8.")] = None,
    accumulate: Annotated[Whole, typer.Option(help="Batches in a step.")] = None,
    lr: Annotated[Number, typer.Option(help="Learning rate after the warm-up.")] = None,
    warmup: Annotated[Whole, typer.Option(help="Steps in which the rate rises.")] = None,
    scheduler: Annotated[Words, typer.Option(help="How the rate falls: cosine, linear, constant.")] = None,
    optimizer: Annotated[Words, typer.Option(help="adamw or sgd.")] = None,
    clip: Annotated[Number, typer.Option(help="Longest gradient; 0: any.")] = None,
    weight_decay: Annotated[Number, typer.Option(help="Share that a step at rate 1 takes of weights.")] = None,
    strength: Annotated[Number, typer.Option(help="Share of what was learned that is used.")] = None,
    validation: Annotated[Number, typer.Option(help="Share of the data that is kept apart to validate with.")] = None,
    evaluate_every: Annotated[Whole, typer.Option(help="Steps between validations.")] = None,
    patience: Annotated[Whole, typer.Option(help="End after so many without a better one; 0: never.")] = None,
    checkpoint_every: Annotated[Whole, typer.Option(help="Steps between checkpoints: what a crash can cost.")] = None,
    objective: Annotated[Words, typer.Option(help="causal, or masked for models with a mask token.")] = None,
    mask: Annotated[Number, typer.Option(help="Share of tokens that the masked objective hides.")] = None,
    dots: Annotated[Words, typer.Option(help="int8 (fast) or f32 (exact) products.")] = None,
    checkpointing: Annotated[bool, typer.Option("--gradient-checkpointing", help="Less memory.")] = False,
    seed: Annotated[Whole, typer.Option(help="The same seed trains the same adapter.")] = None,
    name: Annotated[Words, typer.Option(help="The adapter's name; else the folder's.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in the folder.")] = False,
    as_json: Json = False,
):
    """Teach a language model from your own texts (LoRA).

    The model stays as it is; what it learned is a small adapter beside it.

    Ctrl-C keeps a checkpoint; the same command with --resume goes on from there and ends as if it had never stopped.
    """
    from ..training import run_training

    chosen = _chosen(preset, dict(locals()))
    folder = Path(output).expanduser()
    return await run_training(ctx.obj, model, data, folder, name or folder.resolve().name, chosen, resume)


def _chosen(name: str, given: dict) -> Preset:
    """The preset, changed by the options given. Raises InvalidOption, InvalidRank, UnknownTargetModule."""
    if name not in PRESETS:
        raise InvalidOption(f"--preset {name!r} is not one of {', '.join(PRESETS)}.", option="preset")
    given = given | {"modules": given["modules"] and [part.strip() for part in given["modules"].split(",")]}
    kept = PRESETS[name]
    return replace(kept, lora=_with(kept.lora, LORA, given), training=_with(kept.training, TRAINING, given))


def _with(config, table: dict[str, str], given: dict):
    said = {own: given[option] for option, own in table.items() if given[option] is not None}
    return replace(
        config, **{own: value for own, value in said.items() if value is not False}
    )  # a flag that was not given


async def evaluate(
    ctx: typer.Context,
    model: Model,
    data: Data,
    adapter: Annotated[
        str | None,
        typer.Option(help="An adapter, kept, a folder (PEFT) or a file: measured beside the model without it."),
    ] = None,
    length: Annotated[int, typer.Option(min=8, help="Tokens seen at once; half of them only give context.")] = 512,
    as_json: Json = False,
):
    """Measure how well a model foretells texts.

    Loss (nats a token), perplexity, bits per byte; lower is better.
    """
    from ..training import run_evaluation

    return await run_evaluation(ctx.obj, model, data, adapter, length)
