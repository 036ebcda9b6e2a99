"""What must hold of the tree and the site: sizes of files and functions, bytes of bundles, no absolute paths."""

import ast
import json
import re
import subprocess

from tools.paths import DIST, ROOT

MAX_FILE, MAX_FUNCTION = 400, 50
REASON = "Longer than other files because"  # what the first lines of a longer file say, and why
SOURCES = (".py", ".js", ".mjs", ".c", ".h", ".css", ".html")
# what a first visit to the search page fetches before the model (bytes), and the wheel: a test holds them below these
LIMITS = {
    # seven tabs: search and teaching, completing and chatting (47 KB, with the reader of GGUF headers),
    # personalising (38 KB with whole models, and the SDK's training, routing and merging)
    "app.js": 285_000,
    "edgenet.js": 117_000,  # sessions that generate, learn and route, files of the user's own, and the faces of OpenAI, WebLLM and wllama
    "playground.js": 16_000,
    "playground/python.js": 65_000,  # Pyodide's start, and the tokenizers for Python
    "service-worker.js": 60_000,
    "workers/loader.js": 80_000,
    "workers/engine.js": 400_000,
    "workers/lm.js": 195_000,  # the engine's host, its Programs and adapters, tokenizers, the interpreter of chat templates
    "workers/lm-thread.js": 17_000,
    "workers/onnx.js": 175_000,  # the same beside onnxruntime-web, which is fetched apart
    # unrolled products for eleven weight types, a quarter for training; a page fetches one, and only for language models or search
    "kernels/engine.relaxed.wasm": 230_000,
    "kernels/engine.simd.wasm": 230_000,
    "kernels/engine.relaxed.threads.wasm": 230_000,
    "kernels/engine.simd.threads.wasm": 230_000,
}


def tracked(*folders):
    """Files git knows or would add, below `folders`."""
    names = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", *folders], cwd=ROOT, capture_output=True, text=True
    ).stdout
    return [ROOT / n for n in names.splitlines() if n.endswith(SOURCES) and (ROOT / n).exists()]


def long_functions(path):
    """(name, lines) of the Python functions over the limit."""
    if path.suffix != ".py":
        return
    for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if (
            isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)
            and (size := n.end_lineno - n.lineno + 1) > MAX_FUNCTION
        ):
            yield n.name, size


def check_counts():
    """1 and a list when a file or a function is too long, else 0."""
    bad = []
    for path in tracked():
        lines = path.read_bytes().count(b"\n")
        if lines > MAX_FILE and REASON not in path.read_text(encoding="utf-8")[:600]:
            bad.append(f"{path.relative_to(ROOT)}: {lines} lines (limit {MAX_FILE})")
        bad += [
            f"{path.relative_to(ROOT)}: {name} has {size} lines (limit {MAX_FUNCTION})"
            for name, size in long_functions(path)
        ]
    for name, limit in LIMITS.items():
        if (DIST / name).exists() and (size := (DIST / name).stat().st_size) > limit:
            bad.append(f"dist/{name}: {size} bytes (limit {limit})")
    print("\n".join(bad) if bad else "sizes: all files and functions within limits")
    return 1 if bad else 0


def print_counts():
    """Lines by folder and bytes of the site's parts."""
    for folder in ("pysrc", "web", "wasm", "tools", "tests", "bench"):
        files = tracked(folder)
        lines = sum(p.read_bytes().count(b"\n") for p in files)
        print(f"{folder:8} {len(files):4} files {lines:6} lines")
    build = json.loads((DIST / "build.json").read_text())
    for name in sorted(build["files"]):
        print(f"{(DIST / name).stat().st_size:10,} {name}")


def check_site(folder):
    """Exit with a message when a page refers to its own host by an absolute path: a sub-folder would break it."""
    for path in [*folder.glob("*.html"), *folder.glob("*.css")]:
        absolute = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?(/[^"')\s]*)""", path.read_text(encoding="utf-8"))
        if absolute:
            raise SystemExit(f"{path.name} uses absolute paths, which break in a sub-folder: {', '.join(absolute)}")
