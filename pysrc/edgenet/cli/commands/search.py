"""`search`: passages of a folder by meaning. Imports nothing heavy until called."""

from typing import Annotated

import typer

from ..shell import Json, Result, command

DEFAULT_MODEL = "minilm-l6-v2-q8"
Model = Annotated[str, typer.Option(help="Id of the embedding model.")]
_WIDTH = 100


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    command(
        app,
        "search",
        'search ./notes "when is the heating serviced"',
        'search ./notes "who has the key" --top 3 --json',
    )(search)


async def search(
    ctx: typer.Context,
    folder: Annotated[str, typer.Argument(help="Folder or file to search in.")],
    query: Annotated[str, typer.Argument(help="What you look for, in your own words.")],
    top: Annotated[int, typer.Option(min=1, max=1000, help="How many passages to show.")] = 10,
    model: Model = DEFAULT_MODEL,
    reindex: Annotated[bool, typer.Option("--reindex", help="Embed everything anew.")] = False,
    as_json: Json = False,
):
    """Search a folder by meaning.

    Vectors are kept in the cache by content: the next search embeds only files that changed. Nothing leaves this machine.
    """
    from ...errors import EmptyText
    from ..embedding import Embedder
    from ..texts import gather

    shell = ctx.obj
    if not query.strip():
        raise EmptyText("The query is empty. Say in your own words what you look for.")
    found = gather(shell, [folder])
    async with Embedder.open(shell, model) as embedder:
        index, embedded = await embedder.index(folder, found.documents, reindex)
        hits = await embedder.search(index, query, found.documents, top)
    rows = [{"file": hit.name, "line": hit.line, "score": round(hit.score, 4), "text": hit.text} for hit in hits]
    data = {
        "query": query,
        "hits": rows,
        "documents": len(found.documents),
        "embedded": embedded,
        "skipped": found.skipped,
    }
    return Result(data, "\n".join(_line(row) for row in rows))


def _line(row: dict) -> str:
    text = " ".join(row["text"].split())
    return f"{row['score']:.3f}  {row['file']}:{row['line']}\n       {text if len(text) <= _WIDTH else text[: _WIDTH - 1] + '…'}"
