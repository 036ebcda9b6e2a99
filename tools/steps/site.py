"""`dist/`: the whole site from what the steps made, signed with the builder's own key.

The key is made at the first build. Its validity begins then, and everything it signs here carries that date: equal
inputs and an equal key give equal bytes.
"""

import asyncio
import base64
import hashlib
import json
import shutil
from pathlib import Path

from edgenet import __version__
from edgenet.errors import EdgeNetError, RevocationsOutdated
from edgenet.host.cpython import CPythonHost
from edgenet.integrity import describe
from edgenet.kernels.publish import make_pack
from edgenet.manifest import key_id, parse, sign
from edgenet.registry.publish import index_row
from edgenet.registry.site_keys import trust_entry
from edgenet.trust import Revocations, accept_revocations, parse_trust, sign_revocations
from tools.paths import DIST, NODE_MODULES, OUT, ROOT, WORK
from tools.steps import licenses, wasm, wheel

RUNTIME_RANGE = ("0.1.0", "0.9.9")  # versions of EdgeNet that may run this pack
ORT = ["ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"]
# PyScript as its core imports it; the editor, the terminal and the interpreters that these would ask for stay out
PYSCRIPT = ("core.js", "core-*.js", "error-*.js", "deprecations-manager-*.js", "donkey-*.js", "py-*.js")
# Neither in the app shell nor kept lazily: verified by their own means, or never fetched by a page.
NOT_SHELL = ("models/", "service-worker.js", "build.json", "edgenet.d.ts", "types/", "licenses.txt")
# only for teaching, files of one's own, ONNX decoders and the playground: kept, verified, when first used
LAZY = (
    "vendor/pyodide/",
    "vendor/pyscript/",
    "wheels/",
    "workers/python.js",
    "workers/onnx.js",
    "playground/python.js",
)


def assemble(key):
    """Write `dist/` anew beside the old one, signed by `key` (see `tools.steps.keys`), then swap."""
    fresh = WORK / "dist.new"
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(OUT / "web", fresh)
    shutil.copytree(OUT / "types", fresh / "types")
    (fresh / "edgenet.d.ts").write_text('export * from "./types/sdk/index.js";\n')
    shutil.copytree(OUT / "pyodide", fresh / "vendor" / "pyodide")
    (fresh / "vendor" / "ort").mkdir()
    for name in ORT:
        shutil.copyfile(NODE_MODULES / "onnxruntime-web" / "dist" / name, fresh / "vendor" / "ort" / name)
    (fresh / "vendor" / "pyscript").mkdir()
    for path in (p for name in PYSCRIPT for p in (NODE_MODULES / "@pyscript" / "core" / "dist").glob(name)):
        shutil.copyfile(path, fresh / "vendor" / "pyscript" / path.name)
    (fresh / "wheels").mkdir()
    shutil.copyfile(wheel.path(), fresh / "wheels" / wheel.path().name)
    kernels(fresh / "kernels", key)
    models(fresh / "models", key)
    carry_over(fresh / "models", key_id(key.public_key))
    trust(fresh, key)
    licenses.write(fresh / "licenses.txt")
    write_build(fresh)
    shutil.rmtree(DIST, ignore_errors=True)
    fresh.rename(DIST)


def kernels(folder, key):
    """The kernel pack: modules, their manifest and health vectors, and the signature over the manifest's bytes."""
    shutil.copytree(OUT / "kernels", folder)
    files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.wasm")}
    builds = {f"engine.{name}.wasm": features for name, (_, features) in wasm.BUILDS.items()}
    author = {"name": "EdgeNet", "signing_key": "ed25519:" + base64.b64encode(key.public_key).decode()}
    made = make_pack(
        files, builds, version=__version__, runtime=RUNTIME_RANGE, created_at=key.not_before, author=author
    )
    made["kernels.json.sig"] = base64.b64encode(asyncio.run(key.sign(made["kernels.json"]))) + b"\n"
    for name, data in made.items():
        (folder / name).write_bytes(data)


def models(folder, key):
    """Every committed manifest with its built files; the list of models."""
    rows = [
        model(json.loads(p.read_text(encoding="utf-8")), folder, key, OUT / "models" / p.stem)
        for p in sorted(ROOT.glob("manifests/*.json"))
    ]
    write_json(folder / "index.json", {"models": rows})


def model(template, folder, key, files=None):
    """Copy one model's `files` (a folder; else those that were built), describe and check them against the pinned hashes, sign; its row of
    `index.json`.
    """
    files = files or OUT / "models" / template["id"]
    home = folder / template["id"] / template["version"]
    home.mkdir(parents=True)
    artifacts = {}
    for name, pinned in template["artifacts"].items():
        artifacts[name] = place(files / pinned["filename"], home, pinned)
    signed = asyncio.run(sign(parse(template | {"artifacts": artifacts}), key, key))
    write_json(home / "manifest.json", signed)
    return index_row(signed)


def carry_over(folder, signer):
    """Copy what was published into the old `dist/` and is not built here, with its rows: a build takes nothing away, and says so.

    Models whose manifest another key than `signer` (its id) signed come along, too, but the new trust.json does not believe them.
    """
    old = DIST / "models"
    if not (old / "index.json").exists():
        return
    rows, before = (json.loads((home / "index.json").read_text(encoding="utf-8"))["models"] for home in (folder, old))
    built = {(row["id"], row["version"]) for row in rows}
    for row in before:
        home = Path(row["id"], row["version"])
        if (row["id"], row["version"]) in built or not (old / home / "manifest.json").exists():
            continue
        shutil.copytree(old / home, folder / home)
        by = json.loads((folder / home / "manifest.json").read_text(encoding="utf-8")).get("signature", {}).get("keyId")
        doubt = "" if by == signer else f", but it was signed by {by} and this site's key is {signer}: publish it again"
        print(f"Kept {row['id']} {row['version']}, which was published into {DIST.name}/{doubt}")
        rows.append(row)
    write_json(folder / "index.json", {"models": sorted(rows, key=lambda row: (row["id"], row["version"]))})


def place(source, home, pinned):
    """Copy one artifact into its folder; its full description. Raises when it is not the pinned file."""
    with source.open("rb") as file:
        artifact, leaves = describe(file, pinned["filename"])
    if artifact["sha256"] != pinned.get("sha256", artifact["sha256"]):  # what the build compiles is not pinned
        raise RuntimeError(
            f"{source} has SHA-256 {artifact['sha256']}; its manifest in manifests/ pins {pinned['sha256']}"
        )
    shutil.copyfile(source, home / pinned["filename"])
    if leaves is not None:
        (home / artifact["leavesFile"]["filename"]).write_bytes(leaves)
    return artifact


def trust(folder, key):
    """The site's root of trust, and its signed list of revocations."""
    root = {"schemaVersion": 1, "keys": [trust_entry(key.public_key, key.dates)]}
    write_json(folder / "trust.json", root)
    write_json(folder / "revocations.json", asyncio.run(revocations(parse_trust(root), key)))


async def revocations(root, key):
    """The list in `dist/` if this key signed it, for what was withdrawn stays withdrawn; else an empty one."""
    empty, kept = {"schemaVersion": 1, "sequence": 0, "keys": [], "manifests": []}, DIST / "revocations.json"
    try:
        if kept.exists():
            host, nothing = CPythonHost(), Revocations(sequence=0)
            return (
                await accept_revocations(kept.read_bytes(), root, nothing, host.now(), host.verify_ed25519)
            ).document
    except RevocationsOutdated:
        pass  # the empty one of an earlier build
    except EdgeNetError as error:
        print(f"{kept} cannot go on counting, so a new list begins: {error.message}")
    return await sign_revocations(empty, key, key)


def write_build(folder):
    """`build.json`: hashes of the shell's files and of those kept when first used, and one id over them all."""
    names = sorted(str(p.relative_to(folder).as_posix()) for p in folder.rglob("*") if p.is_file())
    files = {n: hashlib.sha256((folder / n).read_bytes()).hexdigest() for n in names if not n.startswith(NOT_SHELL)}
    build = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:16]
    lazy = {n: files.pop(n) for n in list(files) if n.startswith(LAZY)}
    worker = folder / "service-worker.js"
    worker.write_bytes(worker.read_bytes().replace(b"__EDGENET_BUILD__", build.encode()))
    write_json(folder / "build.json", {"build": build, "files": files, "lazy": lazy})


def write_json(path: Path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
