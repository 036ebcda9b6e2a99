"""Where everything lies. The one place that names folders."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "tools" / "lock"
WORK = ROOT / ".build"  # ignored by git; `build.py clean` removes it
CACHE = WORK / "cache"  # downloads, kept by hash
OUT = WORK / "out"  # what steps produce, before the site is put together
VENV = WORK / "venv"
NODE_MODULES = ROOT / "node_modules"
DIST = ROOT / "dist"
