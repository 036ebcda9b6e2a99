"""Compiles the engine module and the extension kernels with zig's clang; the same sources and zig give the same bytes. CPython only.

Zig comes from the `ziglang` wheel of the build's own environment. No C library is linked: kernels are freestanding.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
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
# Build name -> (extra flags, WebAssembly features it needs beyond MVP). Order is preference.
BUILDS = {"relaxed": (("-mrelaxed-simd",), ("simd", "relaxed-simd")), "simd": ((), ("simd",))}
OPS_SECTION = "edgenet.ops"


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


def ops_json() -> bytes:
    """The argument layouts of all engine kernels: the content of the `edgenet.ops` section."""
    sys.path.insert(0, str(ROOT / "pysrc"))
    from edgenet.kernels.ops import layouts

    return json.dumps(layouts(), separators=(",", ":"), sort_keys=True).encode()


def build(out_dir: Path) -> list[Path]:
    """Write engine.<build>.wasm and ext/<id>.wasm into `out_dir`; returns the paths written, in a fixed order."""
    made, ops = [], sorted((WASM / "ops").glob("*.c"))
    for name, (flags, _features) in BUILDS.items():
        path = compile_c(ops, out_dir / f"engine.{name}.wasm", flags)
        path.write_bytes(with_section(path.read_bytes(), OPS_SECTION, ops_json()))
        made.append(path)
    made += [
        compile_c([source], out_dir / "ext" / f"{source.stem}.wasm") for source in sorted((WASM / "ext").glob("*.c"))
    ]
    return made
