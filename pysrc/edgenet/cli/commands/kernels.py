"""`kernels`: look at a signed pack, verify it, run one kernel, make a pack of one's own. Imports nothing heavy until called."""

import json
from pathlib import Path
from typing import Annotated

import typer

from ...errors import InvalidOption, NoTrustedKey
from ..shell import Json, Result, command
from ..text import table
from .keys import Key

COLUMNS = {
    "id": "KERNEL",
    "kind": "KIND",
    "category": "CATEGORY",
    "inputs": "INPUTS",
    "outputs": "OUTPUTS",
    "params": "PARAMETERS",
}
Pack = Annotated[str | None, typer.Argument(help="Folder or address of a pack (else the site's own).")]
TrustFile = Annotated[
    str | None,
    typer.Option("--trust", help="File with a trust.json or an entry of one: believe these keys and no others."),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(
        help="Signed packs of WebAssembly kernels: look at, verify, run, make.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    command(group, "list", "kernels list", "kernels list ./my-pack --trust publisher.json")(list_)
    command(group, "verify", "kernels verify", "kernels verify ./my-pack --json")(verify)
    command(
        group,
        "run",
        "kernels run swiglu_f32 --a 1,2,3 --b 0,1,-2 --param rows=1 --param hidden=3 --param beta=1",
        "kernels run scale_f32 --pack ./my-pack --a x.npy --param n=4 --output y.npy",
    )(run)
    command(group, "pack", "kernels pack ./my-pack/pack.json", "kernels pack pack.json --key publisher.pem")(pack)
    app.add_typer(group, name="kernels")


async def list_(ctx: typer.Context, pack: Pack = None, trust: TrustFile = None, as_json: Json = False):
    """List the kernels of a verified pack.

    With what each takes and gives; a pack that `kernels verify` refuses is not listed.
    """
    found = await _load(ctx.obj, pack, trust)
    rows = found.kernels()
    shown = [
        row | {n: _tensors(row[n]) for n in ("inputs", "outputs")} | {"params": _params(row["params"])} for row in rows
    ]
    return Result({"kernels": rows}, table(shown, COLUMNS))


def _tensors(rows: list[dict]) -> str:
    return " ".join(f"{row['name']}[{','.join(map(str, row['shape']))}]" for row in rows)


def _params(table_: dict) -> str:
    return " ".join(f"{name}:{row['type']}" for name, row in table_.items())


async def verify(ctx: typer.Context, pack: Pack = None, trust: TrustFile = None, as_json: Json = False):
    """Check a pack whole.

    Its signature, version, hashes, and that every extension kernel answers as its health vectors say.
    """
    found = await _load(ctx.obj, pack, trust)
    manifest = found.manifest
    data = {
        "name": manifest.name,
        "version": manifest.version,
        "signedBy": found.key_id,
        "runtime": list(manifest.runtime),
        "kernels": len(manifest.kernels),
        "extensions": sorted(found.extensions),
        "healthVectors": found.checked,
    }
    text = (
        f"{manifest.name} {manifest.version}: signature valid, by the key {found.key_id}; hashes right; "
        f"{found.checked} health vectors of {len(found.extensions)} extension kernels passed."
    )
    return Result(data, text)


async def run(
    ctx: typer.Context,
    kernel: Annotated[str, typer.Argument(help="Id of an extension kernel.")],
    a: Annotated[str, typer.Option("--a", help="First input: numbers with commas between, or an .npy file.")],
    b: Annotated[str | None, typer.Option("--b", help="Second input, if the kernel has one.")] = None,
    param: Annotated[list[str] | None, typer.Option(help="A parameter as name=number; may be repeated.")] = None,
    output_size: Annotated[int | None, typer.Option(help="Numbers in the output, where the pack does not say.")] = None,
    output: Annotated[str | None, typer.Option(help="Write the answer to this .npy file.")] = None,
    pack: Annotated[str | None, typer.Option(help="Folder or address of a pack (else the site's own).")] = None,
    trust: TrustFile = None,
    as_json: Json = False,
):
    """Run one kernel of a verified pack once.

    In a memory of its own and under its deadline.
    """
    import io

    import numpy as np

    first, second = _numbers(a), None if b is None else _numbers(b)
    params = dict(map(_param, param or []))
    found = await _load(ctx.obj, pack, trust, lambda p: p.run(kernel, first, second, params, output_size=output_size))
    if output:
        buffer = io.BytesIO()
        np.save(buffer, found[0])
        ctx.obj.disk.write(Path(output), buffer.getvalue())
    data = {"kernel": kernel, "output": found[0].tolist(), "scratch": found[1].tolist()}
    return Result(data, f"{found[0].size} numbers are in {output}." if output else " ".join(f"{v:g}" for v in found[0]))


def _numbers(text: str):
    import numpy as np

    try:
        if text.endswith(".npy"):
            return np.load(text, allow_pickle=False)
        return np.array([float(part) for part in text.split(",")], np.float32)
    except (OSError, ValueError) as error:
        what = f"{text!r} is neither numbers with commas between them nor a readable .npy file ({error})."
        raise InvalidOption(what) from error


def _param(text: str) -> tuple[str, int | float]:
    name, _, value = text.partition("=")
    try:
        return name, int(value) if value.lstrip("-").isdigit() else float(value)
    except ValueError as error:
        raise InvalidOption(f"--param {text!r} must be name=number, such as rows=2.", option="param") from error


async def pack(
    ctx: typer.Context,
    description: Annotated[
        str, typer.Argument(help="The pack's description (JSON), in the folder of its .wasm files.")
    ],
    key: Key = None,
    as_json: Json = False,
):
    """Make and sign a pack in place.

    kernels.json, kernels.json.sig and health.json are written beside the description.
        The description is a kernels.json without hashes; each kernel has "cases" with the answers that readers check it by.
    """
    from ...fields import to_base64
    from ...kernels.authoring import complete_pack
    from ...manifest import key_id

    shell, path = ctx.obj, Path(description)
    data = shell.disk.read(path)
    if data is None:
        raise InvalidOption(f"There is no {path}. docs/kernels.md shows one.", path=str(path))
    signer = shell.signer(key)
    wasm = {p.relative_to(path.parent).as_posix(): p.read_bytes() for p in sorted(path.parent.rglob("*.wasm"))}
    made = complete_pack(data, wasm)
    made["kernels.json.sig"] = (to_base64(await signer.sign(made["kernels.json"])) + "\n").encode()
    for name, content in made.items():
        shell.disk.write(path.parent / name, content)
    who = key_id(signer.public_key)
    count = len(json.loads(made["kernels.json"])["kernels"])
    return Result(
        {"folder": str(path.parent), "keyId": who, "kernels": count},
        f"{count} kernel{'s'[: count != 1]} in {path.parent}, signed by {who}. Check: `edge-net-models kernels verify {path.parent}`.",
    )


async def _load(shell, place: str | None, trust: str | None, use=lambda pack: pack):
    """What `use` makes of the pack, verified and started. Raises a PackError."""
    from ...host.packs import TICK_MS, pack_reader, policy
    from ...host.wasmtime_engine import WasmtimeRuntime
    from ...kernels.extensions import load_extensions

    with WasmtimeRuntime(tick_ms=TICK_MS) as runtime:
        async with shell.http() as http:
            believed = await _believed(shell, http, place, trust)
            where = place or shell.site_url + "kernels/"
            return use(await load_extensions(pack_reader(http, where), policy(*believed), runtime))


async def _believed(shell, http, place: str | None, trust: str | None):
    """(keys, revocations): `--trust`, else for the site's own pack the site's keys, else the keys trusted by hand."""
    from ...trust import Revocations, parse_trust

    if trust:
        data = shell.disk.read(Path(trust))
        try:
            document = json.loads(data or b"")
        except ValueError as error:
            raise InvalidOption(f"--trust {trust}: there is no JSON in it ({error}).", path=trust) from error
        return parse_trust(document if "keys" in document else {"schemaVersion": 1, "keys": [document]}), Revocations()
    if place is None:
        return await shell.book.believed(shell.site(http))
    own = shell.book.own()
    if not own["keys"]:
        raise NoTrustedKey(
            f"Nothing says whose signature counts for {place}. "
            "Name the publisher's key: --trust FILE, or `edge-net-models keys trust FILE`."
        )
    revoked = Revocations(keys=frozenset(shell.book.revoked()))
    return parse_trust(own), revoked
