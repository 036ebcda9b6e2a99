"""Compiles the engine module and the extension kernels with zig's clang; the same sources and zig give the same bytes. CPython only.

Zig comes from the `ziglang` wheel of the build's own environment. No C library is linked: kernels are freestanding.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WASM = ROOT / "wasm"

BASE = (
    "--target=wasm32-freestanding",
    "-O3",
    "-std=c11",
    "-nostdlib",
    "-fno-builtin",
    "-Wall",
    "-Wextra",
    "-Wno-unused-parameter",
    "-Werror",
    "-mbulk-memory",
    "-mnontrapping-fptoint",
    "-msign-ext",
    "-msimd128",
    "-mllvm",  # loop strength reduction would turn offsets that are part of a load into an addition per load
    "-disable-lsr",
    "-Wl,--no-entry",
    "-Wl,--strip-all",
    "-Wl,--export=__heap_base",
)
RELAXED = ("-mrelaxed-simd",)
# All threads run on one memory, which the host makes. 65535 pages: the linker knows no more.
SHARED = (
    "-matomics",
    "-Wl,--import-memory",
    "-Wl,--shared-memory",
    "-Wl,--max-memory=4294901760",
    "-Wl,--export=__stack_pointer",
)
# Build name -> (extra flags, features a host must have for it). Order is preference: a host that can share memory says so.
BUILDS = {
    "relaxed.threads": (RELAXED + SHARED, ("simd", "relaxed-simd", "threads")),
    "simd.threads": (SHARED, ("simd", "threads")),
    "relaxed": (RELAXED, ("simd", "relaxed-simd")),
    "simd": ((), ("simd",)),
}
STACK = 131072  # of the first thread; every other thread is given as much by the host
SECTIONS = {"edgenet.ops": "edgenet.kernels.ops:layouts", "edgenet.lm": "edgenet.kernels.lm.table:describe"}


def compile_c(sources: list[Path], out: Path, flags: tuple[str, ...] = (), stack: int = 65536) -> Path:
    """Link C sources into one module at `out` (its own memory, exported). Raises RuntimeError with the compiler's text when it fails."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temp:  # zig writes temporary files beside its output
        made = Path(temp) / "out.wasm"
        # paths relative to the root keep the checkout's place out of the bytes
        names = [str(s.relative_to(ROOT)) if s.is_relative_to(ROOT) else str(s) for s in sources]
        command = [
            sys.executable,
            "-m",
            "ziglang",
            "cc",
            *BASE,
            *flags,
            f"-Wl,-z,stack-size={stack}",
            *names,
            "-o",
            str(made),
        ]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{out.name}: the C compiler refused {', '.join(names)}:\n{done.stderr.strip()}")
        out.write_bytes(made.read_bytes())
    return out


def leb128(n: int) -> bytes:
    """Unsigned LEB128, the integer coding of the WebAssembly binary format."""
    out = bytearray()
    while True:
        n, low = n >> 7, n & 0x7F
        out.append(low | (0x80 if n else 0))
        if not n:
            return bytes(out)


def with_section(module: bytes, name: str, payload: bytes) -> bytes:
    """The module with a custom section appended, so that it says itself how its kernels take their arguments."""
    body = leb128(len(name)) + name.encode() + payload
    return module + b"\0" + leb128(len(body)) + body


def section_json(source: str) -> bytes:
    """A table of kernels as JSON; `source` is "module:function" of the package in this checkout."""
    sys.path.insert(0, str(ROOT / "pysrc"))
    module, function = source.split(":")
    return json.dumps(getattr(import_module(module), function)(), separators=(",", ":"), sort_keys=True).encode()


def build_engine(name: str, out_dir: Path) -> Path:
    """Write engine.<name>.wasm, one of BUILDS, into `out_dir`; returns its path."""
    sources = sorted([*(WASM / "ops").glob("*.c"), *(WASM / "lm").glob("*.c")])
    path = compile_c(sources, out_dir / f"engine.{name}.wasm", BUILDS[name][0], STACK)
    data = path.read_bytes()
    for section, source in SECTIONS.items():
        data = with_section(data, section, section_json(source))
    path.write_bytes(data)
    return path


def build(out_dir: Path) -> list[Path]:
    """Write every engine.<build>.wasm and ext/<id>.wasm into `out_dir`; returns the paths written, in a fixed order."""
    made = [build_engine(name, out_dir) for name in BUILDS]
    made += [
        compile_c([source], out_dir / "ext" / f"{source.stem}.wasm") for source in sorted((WASM / "ext").glob("*.c"))
    ]
    return made
