"""Which kept adapter a request goes to: by what each was described with, through the embedding model that described it. CPython."""

from collections import Counter
from collections.abc import Sequence

from ..errors import EmptyText, InvalidOption, NoProfile
from ..lora.adapter import base_id
from ..lora.pool import Entry, Pool
from ..lora.routing import THRESHOLD, question_of, sample_of
from .adapter_pool import changing, opened
from .embedding import Embedder
from .language import name_and_scale, source_of
from .texts import gather_examples

AUTO = "auto"  # in place of an adapter's name


async def describe(shell, ref: str, names: list[str], model: str) -> Entry:
    """Say anew what a kept adapter was trained on: texts below the paths, embedded by `model`.

    Raises AdapterNotFound, EmptyText, and as `gather_examples` and `Embedder.open`.
    """
    (await opened(shell)).find(ref)  # before a model works for it
    texts = sample_of(gather_examples(shell, names))
    if not texts:
        raise EmptyText(f"The examples in {', '.join(names)} are blank. Give texts that the adapter was trained on.")
    async with Embedder.open(shell, model) as embedder:
        vectors = await embedder.vectors(texts)
    async with changing(shell) as pool:
        return await pool.learn(ref, vectors, texts, embedder.name, anew=True)


async def routed(shell, model: str, given: Sequence[str], request: str) -> tuple[list[str], dict | None]:
    """(adapters to run with, how they were chosen as JSON data): `auto` among the `given` becomes the one that the request is like.

    None where nobody asked for a choice. Raises InvalidOption for `auto` beside others, NoProfile, and what opening the models raises.
    """
    named = [name_and_scale(text) for text in given]
    if AUTO not in (name for name, _ in named):
        return list(given), None
    if len(named) > 1:
        raise InvalidOption(
            "--adapter auto chooses one adapter by itself. Give it alone, or name all adapters.", option="adapter"
        )
    base = base_id((await source_of(shell, model)).header)
    data = await _choice(shell, await opened(shell), base, request)
    return [f"{data['id']}:{named[0][1]}"] if data["id"] else [], data


async def _choice(shell, pool: Pool, base: str, request: str) -> dict:
    model = _embedding_model(shell, pool, base)
    async with Embedder.open(shell, *model.rsplit("@", 1)) as embedder:
        vector = (await embedder.vectors([question_of(request)]))[0]
    likeness = pool.route(vector, -1.0, model, base)  # of all, to tell also why none was taken
    rows = [{"name": pool.find(id).name, "id": id, "cosine": round(cosine, 4)} for id, cosine in likeness]
    taken = rows[0] if rows and likeness[0][1] >= THRESHOLD else {"name": None, "id": None}
    shell.say(f"adapter: {taken['name'] or 'none'}{_why(rows, taken['name'])}")
    return {"adapter": taken["name"], "id": taken["id"], "threshold": THRESHOLD, "embedding": model, "candidates": rows}


def _why(rows: list[dict], taken: str | None) -> str:
    if taken or not rows:
        return f", cosine {rows[0]['cosine']:.2f}" if rows else ""
    return f"; the likest, {rows[0]['name']}, has a cosine of {rows[0]['cosine']:.2f}, less than {THRESHOLD}"


def _embedding_model(shell, pool: Pool, base: str) -> str:
    """The model that described most of a base's adapters, of equals the one that was used last. Raises NoProfile."""
    described = [e for e in reversed(pool.entries) if e.base_id == base and e.profile and e.profile.model]
    if not described:
        raise NoProfile(
            "No kept adapter of this model says what it was trained on, so that none can be chosen. Say it of one with "
            "`edge-net-models adapters describe NAME TEXTS`; one that names no base must be imported with --base first."
        )
    [(model, _)] = Counter(e.profile.model for e in described).most_common(1)
    if others := [e.name for e in described if e.profile.model != model]:
        shell.say(
            f"notice: {', '.join(others)}: described by another embedding model than {model}, so left out; describe anew"
        )
    return model
