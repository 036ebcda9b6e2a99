"""Make tests/vectors/adapters/engine.json: an adapter bound to the small phi3, as the engine's file and site by site, for the page.

python -m tests.make_adapter_vectors
"""

import base64
import json

import numpy as np

from edgenet.lora import safetensors
from edgenet.lora.adapter import Adapter, base_id
from edgenet.lora.bound import bind, engine_bytes
from edgenet.lora.config import LoraConfig
from tests.unit.small_adapters import FOLDER, header
from tools.oracles.small_adapters import factor

TARGET = FOLDER / "engine.json"
SHAPES = {"model.layers.0.self_attn.qkv_proj": (64, 128), "model.layers.1.mlp.down_proj": (96, 64)}


def adapter() -> Adapter:
    """Two modules of the small phi3; the first one's B has rows of k that are zero, so that v and q alone are sites."""
    tensors = {}
    for path, (width, out) in SHAPES.items():
        tensors[path] = (factor(f"{path}.A", (2, width)), factor(f"{path}.B", (out, 2)))
    tensors["model.layers.0.self_attn.qkv_proj"][1][64:96] = 0
    config = LoraConfig(r=2, lora_alpha=3, target_modules=("qkv_proj", "down_proj"))
    return Adapter(config, tensors, name="Grüße", base_id=base_id(header("phi3")), base_sha256="ab" * 32)


def text(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values, "<f4").tobytes()).decode()


def content() -> str:
    made, head = adapter(), header("phi3")
    data = engine_bytes(made, head)
    _, told = safetensors.read(data)
    about = {
        "id": made.id,
        "name": made.name,
        "baseId": told["base_id"],
        "baseSha256": "ab" * 32,
        "family": "phi3",
        "checksum": made.checksum,
    }
    sites = [
        {"site": site, "rank": len(A), "inputs": A.shape[1], "outputs": len(B), "a": text(A), "b": text(B)}
        for site, A, B in bind(made, head)
    ]
    return (
        json.dumps(
            {"file": base64.b64encode(data).decode(), "about": about, "sites": sites}, indent=1, ensure_ascii=False
        )
        + "\n"
    )


if __name__ == "__main__":
    TARGET.write_text(content(), encoding="utf-8")
