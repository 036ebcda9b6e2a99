"""Getting a complete model by the user's configuration: from the cache, or by judging a manifest and pulling it. CPython."""

from pathlib import Path

from ..errors import InvalidOption, NotCached
from ..registry.pull import Puller, PullOptions
from ..sources.plan import KINDS
from .hub import hub_model
from .progress import progress
from .pulled import Pulled, events, settled


def options(shell, source: str | None, parallel: int | None) -> PullOptions:
    """PullOptions of the configuration and of what was asked for. Raises InvalidOption for an unknown source."""
    kinds = {kind: kind for kind in KINDS} | {"gcs": "cdn", "auto": None, None: None}
    if source not in kinds:
        raise InvalidOption(f"--source {source!r} is not one of {', '.join(KINDS)}.", source=source)
    config = shell.config
    return PullOptions(
        kinds[source],
        kinds[config["defaultSource"]],
        tuple(config["ipfs.gateways"]),
        parallel or config["cdn.parallel"],
        config["cdn.retries"],
    )


async def pull_model(
    shell, model_id: str, version: str | None = None, *, source=None, output=None, parallel=None, allow_unsigned=False
) -> Pulled:
    """Make a model complete in the cache, judged anew, and copy it to `output` if asked. Raises any EdgeNetError."""
    chosen = options(shell, source, parallel)
    if output is not None:
        shell.disk.probe(Path(output))  # before a byte is fetched
    async with shell.http() as http:
        site = shell.site(http)
        held = shell.store.find(model_id)
        if version is None and held and not shell.config["preferences.autoUpdate"]:
            version = held.manifest["version"]
        manifest, url = await site.manifest(await site.row(model_id, version))
        verdict = await shell.book.accept(manifest, site, allow_unsigned=allow_unsigned)
        with progress(shell, f"{manifest['id']} {manifest['version']}") as show:
            puller = Puller(shell.store, http, chosen, events(shell, show))
            model, totals = await puller.pull(manifest, url, verdict.state)
    return settled(shell, model, totals, output)


async def complete_model(shell, model_id: str, version: str | None = None):
    """The stored model, complete and not revoked: from the cache without any network, else pulled from the site, or, for an address
    `hf:owner/name/file.gguf`, from the hub. Raises NotCached.
    """
    from ..registry.hub_manifest import address_of
    from ..trust import judge_cached

    if model_id.startswith("hf:"):
        return await hub_model(shell, model_id)
    held = shell.store.find(model_id, version)
    if held and shell.store.complete(held):
        site = _site_of(shell, held)
        verdict = judge_cached(
            held.manifest, shell.book.trusted(site), shell.book.known_revocations(site), shell.host.now()
        )
        for notice in verdict.notices:
            shell.say(f"notice: {notice['message']}")
        shell.store.used(held)
        return held
    if held and address_of(held):
        return await pull_again(shell, held)
    if not shell.has_site:
        raise NotCached(
            f"The model {model_id} is not in the cache. Get it first: "
            f"`edge-net-models --site http://localhost:8000 pull {model_id}`.",
            id=model_id,
        )
    return (await pull_model(shell, model_id, version)).model


async def pull_again(shell, held):
    """Fetch what is missing of a stored model from where it came; its manifest is not judged anew. Raises as `Puller.pull`."""
    async with shell.http() as http:
        with progress(shell, held.key) as show:
            puller = Puller(shell.store, http, options(shell, None, None), events(shell, show))
            return (await puller.pull(held.manifest, held.url, held.state))[0]


def _site_of(shell, model) -> str:
    """The site, of those met, that a stored model came from; its own address if none fits."""
    return next((row["site"] for row in shell.book.sites() if model.url.startswith(row["site"])), model.url)
