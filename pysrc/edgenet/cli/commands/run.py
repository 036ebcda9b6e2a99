"""`run` and `bench`: text from a language model on this machine, and how fast. Imports nothing heavy until called."""

import statistics
import sys
from typing import Annotated

import typer

from ..shell import Json, Result, command
from ..text import printable

Model = Annotated[str, typer.Argument(help="A GGUF file, the id of a model, or hf:owner/name/file.gguf.")]
Context = Annotated[
    int, typer.Option(min=0, help="Tokens of prompt and answer together (0: 2048, or what the model was made for).")
]
Cache = Annotated[str, typer.Option("--kv", help="How keys and values are kept: f32, q8 or q4.")]
Adapters = Annotated[
    list[str] | None,
    typer.Option(
        "--adapter",
        help="Run with this adapter: the name of a kept one, a folder or file; NAME:0.5 at that scale. May be given more than once. "
        "auto: the kept one whose texts the prompt is like (`adapters describe`).",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    command(
        app,
        "run",
        "run python-completion-7m-q8 'if __name__ ==' --temperature 0 --max-tokens 5",
        "run model-q4_0.gguf 'Name three rivers.' --temperature 0",
        "run model-q4_0.gguf - --system 'Answer in one sentence.' < question.txt",
        "run hf:owner/name/model-q4_0.gguf 'Once upon a time' --max-tokens 50 --seed 1 --json",
        "run model-q4_0.gguf 'Dear Ada,' --adapter ./letters --adapter ./french:0.5",
        "run model-q4_0.gguf 'How long does bread bake?' --adapter auto",
    )(run)
    command(app, "bench", "bench python-completion-7m-q8", "bench model-q4_0.gguf --prompt 512 --tokens 64 --json")(
        bench
    )


async def run(
    ctx: typer.Context,
    model: Model,
    prompt: Annotated[str, typer.Argument(help="What to go on with or to answer; - is standard input.")],
    max_tokens: Annotated[int, typer.Option(min=1, help="Most tokens of the answer.")] = 256,
    temperature: Annotated[float, typer.Option(help="0 always takes the likeliest token.")] = 0.7,
    top_k: Annotated[int, typer.Option(help="Draw among the k likeliest tokens; 0: all.")] = 40,
    top_p: Annotated[float, typer.Option(help="Draw among the likeliest tokens that reach this share.")] = 0.95,
    min_p: Annotated[float, typer.Option(help="Leave out tokens less likely than this share of the likeliest.")] = 0.0,
    repetition_penalty: Annotated[float, typer.Option(help="Above 1 makes tokens seen less likely.")] = 1.0,
    seed: Annotated[
        int | None, typer.Option(min=0, help="The same seed draws the same text; else one is drawn and told.")
    ] = None,
    stop: Annotated[list[str] | None, typer.Option(help="End before this text; may be given more than once.")] = None,
    system: Annotated[str | None, typer.Option(help="What a chat model is told before the prompt.")] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Go on with the prompt as it is, also where the model has a chat template.")
    ] = False,
    adapter: Adapters = None,
    context: Context = 0,
    kv: Cache = "f32",
    as_json: Json = False,
):
    """Generate text with a language model.

    The text is printed as it comes. A model with a chat template answers the prompt; any other goes on with it.
    """
    from ...text.sampling import Sampling
    from ..language import open_language
    from ..routing import routed

    text = sys.stdin.read() if prompt == "-" else prompt
    options = dict(
        max_tokens=max_tokens, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p,
        repetition_penalty=repetition_penalty, stop_sequences=stop or (), **({} if seed is None else {"seed": seed}),
    )  # fmt: skip
    Sampling(**{"seed": 0, **options})  # a wrong option is said before a model is loaded
    adapters, chosen = await routed(ctx.obj, model, adapter or (), text)
    shown = printable if sys.stdout.isatty() else str  # a file or a program gets every byte
    async with open_language(ctx.obj, model, context, kv, adapters) as session:
        async for piece in session.stream(_asked(session, text, system, raw), **options):
            if not as_json:
                print(shown(piece), end="", flush=True)
        answer = session.last
    if not as_json:
        print()
    data = _figures(answer)
    ctx.obj.say(_told(data))
    told = {"routing": chosen} if chosen else {}
    return Result({"model": model, "text": answer.text, **data, **told, "notices": ctx.obj.notices})


def _asked(session, text: str, system: str | None, raw: bool):
    """The prompt as the model takes it: messages where it has a chat template."""
    if raw or session.generation["chatTemplate"] is None:
        return text if system is None else f"{system}\n\n{text}"
    told = [] if system is None else [{"role": "system", "content": system}]
    return [*told, {"role": "user", "content": text}]


def _figures(answer) -> dict:
    decoded = max(len(answer.tokens) - 1, 0)
    return {
        "reason": answer.reason,
        "seed": answer.seed,
        "usage": {"prompt": answer.prompt_tokens, "completion": len(answer.tokens), "cached": answer.cached_tokens},
        "firstTokenSeconds": round(answer.prefill_s, 4),
        "tokensPerSecond": round(decoded / answer.decode_s, 2) if answer.decode_s else 0.0,
    }


def _told(figures: dict) -> str:
    return (
        f"{figures['usage']['completion']} tokens, {figures['tokensPerSecond']:.1f} a second, the first after "
        f"{figures['firstTokenSeconds']:.2f} s; ended by {figures['reason']}; seed {figures['seed']}"
    )


async def bench(
    ctx: typer.Context,
    model: Model,
    prompt: Annotated[int, typer.Option(min=1, help="Tokens of the prompt.")] = 128,
    tokens: Annotated[int, typer.Option(min=2, help="Tokens to generate.")] = 32,
    repeat: Annotated[int, typer.Option(min=1, max=1000, help="Measured rounds, after one that warms up.")] = 5,
    context: Context = 0,
    kv: Cache = "f32",
    as_json: Json = False,
):
    """Measure how fast a model reads and generates here.

    On one thread, in wasmtime. Medians, with the range.
    """
    from ..language import open_language

    prefill, decode = [], []
    async with open_language(ctx.obj, model, context, kv) as session:
        for n in range(repeat + 1):
            session.clear_kv_cache()
            ids = [(n * 101 + i * 37) % session.vocabulary for i in range(prompt)]
            await session.generate(ids, max_tokens=tokens, temperature=0, seed=0)
            if n and len(session.last.tokens) > 1:
                prefill.append(prompt / session.last.prefill_s)
                decode.append((len(session.last.tokens) - 1) / session.last.decode_s)
    rows = {"prefill": prefill, "decode": decode}
    data = {"model": model, "prompt": prompt, "tokens": tokens, "unit": "tokens/s", **rows}
    lines = [f"{name:8} {_spread(samples)} tokens/s" for name, samples in rows.items()]
    return Result(data, "\n".join(lines))


def _spread(samples: list[float]) -> str:
    if not samples:
        return "not measured: the model ended each answer at once;"
    return f"{statistics.median(samples):8.1f} ({min(samples):.1f} to {max(samples):.1f})"
