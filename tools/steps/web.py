"""Bundles of the site's JavaScript and style sheet (esbuild), and its static files."""

import shutil

from tools import node
from tools.node import esbuild
from tools.paths import NODE_MODULES, OUT, ROOT

FOLDER = OUT / "web"
COMMON = ["--bundle", "--minify", "--target=es2022", "--charset=utf8", "--legal-comments=none", "--log-level=warning"]
# source → (bundle, format): modules, but for the script tag's file and the service worker, which are classic scripts
BUNDLES = {
    "web/sdk/index.js": [("edgenet.js", "esm"), ("edgenet.global.js", "iife")],
    "web/engine/learning/index.js": [("learning.js", "esm")],
    "web/app/main.js": [("app.js", "esm")],
    "web/app/app.css": [("app.css", "esm")],
    "web/app/embed.js": [("embed.js", "esm")],
    "web/loader/worker.js": [("workers/loader.js", "esm")],
    "web/engine/worker.js": [("workers/engine.js", "esm")],
    "web/engine/kernel-worker.js": [("workers/kernel.js", "esm")],
    "web/engine/lm/worker.js": [("workers/lm.js", "esm")],
    "web/engine/lm/thread-worker.js": [("workers/lm-thread.js", "esm")],
    "web/engine/lm/onnx-worker.js": [("workers/onnx.js", "esm")],
    "web/python/worker.js": [("workers/python.js", "esm")],
    "web/playground/main.js": [("playground.js", "esm")],
    "web/playground/python.js": [("playground/python.js", "esm")],
    "service-worker.js": [("service-worker.js", "iife")],
}
EXTRA = {"edgenet.global.js": ["--global-name=edgenet"], "playground/python.js": ["--external:../vendor/*"]}
STATIC = {
    "web/index.html": "index.html",
    "web/embed.html": "embed.html",
    "web/playground.html": "playground.html",
    "web/playground/playground.css": "playground.css",
    "web/playground/main.py": "playground/main.py",
    "web/app/icon.svg": "icon.svg",
    "web/app/manifest.webmanifest": "manifest.webmanifest",
}


def run():
    """Write every bundle and static file to `.build/out/web`."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    for source, targets in BUNDLES.items():
        for target, form in targets:
            esbuild(ROOT / source, *COMMON, f"--format={form}", f"--outfile={FOLDER / target}", *EXTRA.get(target, []))
    types()
    for source, target in STATIC.items():
        (FOLDER / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / source, FOLDER / target)
    shutil.copytree(ROOT / "web" / "playground" / "examples", FOLDER / "playground" / "examples")


def types():
    """The SDK's declarations, from its JSDoc."""
    shutil.rmtree(OUT / "types", ignore_errors=True)
    node.run([NODE_MODULES / "typescript" / "bin" / "tsc", "-p", ROOT / "web" / "tsconfig.types.json"])
