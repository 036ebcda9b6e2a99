"""The list of foreign works that the site carries, with their licences, from what the packages themselves state."""

import json
import zipfile

from tools.paths import CACHE, NODE_MODULES
from tools.steps import assets

BUNDLED = ["@huggingface/jinja", "@huggingface/tokenizers", "idb-keyval", "onnxruntime-web", "pyodide"]
WITH_DEPENDENCIES = ["@pyscript/core"]  # its file has them inside
TEXT_NAMES = ("LICENSE", "LICENCE", "COPYING", "NOTICE", "THIRDPARTY")


def npm_entry(name):
    """(title, licence id, licence texts) of an npm package."""
    folder = NODE_MODULES / name
    about = json.loads((folder / "package.json").read_text(encoding="utf-8"))
    texts = [
        p.read_text(encoding="utf-8", errors="replace")
        for p in sorted(folder.iterdir())
        if p.is_file() and p.name.upper().startswith(TEXT_NAMES)
    ]
    return f"{name} {about['version']}", about.get("license", "see text"), texts


def closure(names):
    """These npm packages and all that they depend on, sorted."""
    found, todo = set(), list(names)
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            about = json.loads((NODE_MODULES / name / "package.json").read_text(encoding="utf-8"))
            todo += about.get("dependencies", {})
    return sorted(found)


def wheel_entry(path):
    """(title, licence id, licence texts) of a wheel."""
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
        about = wheel.read(next(n for n in names if n.endswith(".dist-info/METADATA"))).decode().splitlines()
        texts = [
            wheel.read(n).decode(errors="replace")
            for n in names
            if ".dist-info/" in n and n.rsplit("/", 1)[1].upper().startswith(TEXT_NAMES)
        ]
    field = {line.split(":", 1)[0]: line.split(":", 1)[1].strip() for line in reversed(about) if ": " in line}
    return (
        f"{field['Name']} {field['Version']}",
        field.get("License-Expression") or field.get("License", "see text"),
        texts,
    )


def write(target):
    """Write every entry to `target`, one after another."""
    wheels = [*sorted((CACHE / "pyodide").glob("*.whl")), assets.model_wheel()]
    rows = [npm_entry(n) for n in BUNDLED + closure(WITH_DEPENDENCIES)] + [wheel_entry(w) for w in wheels]
    parts = [f"{title}\nLicence: {kind}\n\n" + "\n\n".join(texts).strip() for title, kind, texts in rows]
    target.write_text(("\n\n" + "=" * 80 + "\n\n").join(parts) + "\n", encoding="utf-8")
