"""Models off a hub (`hf:owner/name/file.gguf`) by the user's configuration. CPython."""

from pathlib import Path

from ..errors import InvalidOption
from .progress import progress
from .pulled import Pulled, events, settled


async def hub_files(shell, text: str, address: str | None) -> list[dict]:
    """The GGUF files of the repository `hf:owner/name`: [{"file", "size"}]. Raises as `Hub.files`."""
    async with shell.http() as http:
        hub, place = _hub(shell, http, text, address)
        return await hub.files(place)


async def pull_hub(shell, text: str, address: str | None = None, output: str | None = None) -> Pulled:
    """Make the model of `hf:owner/name/file.gguf` complete in the cache, and copy it to `output` if asked. Raises any EdgeNetError."""
    from ..registry.hub import HubPuller

    if output is not None:
        shell.disk.probe(Path(output))  # before a byte is fetched
    async with shell.http() as http:
        hub, place = _hub(shell, http, text, address)
        _with_file(place)
        with progress(shell, text) as show:
            puller = HubPuller(shell.store, hub, shell.config["cdn.retries"], events(shell, show))
            model, totals = await puller.pull(place)
    return settled(shell, model, totals, output)


async def hub_header(shell, text: str):
    """The header of `hf:owner/name/file.gguf`, read by range; nothing is kept. Raises as `Hub.look`, InvalidOption without a file."""
    async with shell.http() as http:
        hub, place = _hub(shell, http, text, None)
        return (await hub.look(_with_file(place)))[1]


def _with_file(place):
    if place.file is None:
        raise InvalidOption(f"{place.text} names no file. `edge-net-models pull {place.text}` lists those there are.")
    return place


def _hub(shell, http, text: str, address: str | None):
    from ..sources.hub import Hub, parse

    return Hub(address or shell.config["hub.endpoint"], http), parse(text)


async def hub_model(shell, text: str):
    """The stored model of `hf:owner/name/file.gguf`: from the cache without any network if it is whole there, else pulled."""
    from ..registry.hub_manifest import address_of
    from ..sources.hub import parse

    place = _with_file(parse(text))
    here = (model for model in shell.store.models() if address_of(model) == place.text and shell.store.complete(model))
    if held := next(here, None):
        shell.store.used(held)
        return held
    return (await pull_hub(shell, text)).model
