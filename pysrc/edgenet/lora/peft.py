"""PEFT's folder, `adapter_config.json` and `adapter_model.safetensors`: read as hostile input, written as PEFT writes it. Runs anywhere.

Keys are `base_model.model.<path>.lora_A.weight`, A (r, in) and B (out, r). What EdgeNet alone knows of an adapter stands in the weights'
file under `edgenet`, where PEFT does not look.
"""

import json
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import numpy as np

from ..errors import InvalidAdapter, UnsupportedAdapter
from ..fields import load_object
from . import about, safetensors
from .adapter import NAME, Adapter
from .config import LoraConfig
from .names import module_path

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
OWN = "edgenet"  # our key in the weights' metadata
_KEY = re.compile(r"(.+)\.lora_([AB])(?:\.default)?(?:\.weight)?")
# Options that make more of an adapter than scale * B A, or change the base itself; `LoraConfig.from_json` refuses others.
REFUSED = {
    "use_dora": "it is a DoRA adapter, which also scales the base's weights",
    "use_bdlora": "its factors are blocks of larger ones",
    "kasa_config": "it changes the base's weights",
    "monteclora_config": "its factors are drawn anew at each use",
    "modules_to_save": "it holds whole modules beside the factors",
    "trainable_token_indices": "it holds new embeddings of tokens",
    "lora_bias": "it holds biases beside the factors",
}
# Ways to begin that move a part of the base's weights into the adapter: without that changed base it means nothing.
MOVING = ("pissa", "olora", "corda", "loftq", "lora_ga")
# Words in keys → why the tensor cannot be left out.
FOREIGN = {
    "lora_magnitude_vector": REFUSED["use_dora"],
    "modules_to_save": REFUSED["modules_to_save"],
    "token_adapter": REFUSED["trainable_token_indices"],
    "lora_embedding_": "it adapts the embedding, which EdgeNet does not adapt",
    "embed_tokens": "it adapts or holds the embedding, which EdgeNet does not adapt",
    "lm_head": "it adapts or holds the output matrix, which EdgeNet does not adapt",
    "bias": "it holds biases, and EdgeNet's adapters are factors alone",
}


def read(files: Mapping[str, bytes], what: str = "adapter", warn: Callable[[str], None] = warnings.warn) -> Adapter:
    """The adapter of a PEFT folder's two files, by their names. `what`: its name, where the files tell none.

    `warn` is told the options that are left out.
    Raises InvalidAdapter, UnsupportedAdapter, NotFinite, HashMismatch, and InvalidOption or InvalidRank for a config that cannot be.
    """
    if missing := [name for name in (CONFIG, WEIGHTS) if name not in files]:
        raise InvalidAdapter(
            f"{what} is no folder of PEFT: it lacks {' and '.join(missing)}. Weights in a `.bin` must be saved anew as safetensors.",
            missing=missing,
        )
    arrays, metadata = safetensors.read(files[WEIGHTS], f"{what}, {WEIGHTS}")
    return _made(arrays, metadata, files[CONFIG], what, warn)


def write(adapter: Adapter, dtype: str = "F32") -> dict[str, bytes]:
    """{file name: bytes} of PEFT's folder, that last by which readers know it.

    `dtype`: F32, F16 or BF16; what 16 bits round has another checksum and no signature.
    `baseModel` of the adapter's metadata is what PEFT calls `base_model_name_or_path`.
    """
    if dtype != "F32":
        rounded = {
            path: tuple(safetensors.rounded(array, dtype) for array in pair) for path, pair in adapter.tensors.items()
        }
        adapter = replace(adapter, tensors=rounded, signature=None)
    return {WEIGHTS: _weights(adapter, dtype), CONFIG: _config_text(adapter).encode()}


def packed(adapter: Adapter) -> bytes:
    """Both files in one: the weights', with the config in its metadata. What the pool keeps."""
    return _weights(adapter, "F32", {CONFIG: _config_text(adapter)})


def unpacked(data: bytes, what: str = "adapter") -> Adapter:
    """The adapter of `packed`. Raises as `read`."""
    arrays, metadata = safetensors.read(data, what)
    return _made(arrays, metadata, metadata.get(CONFIG, "").encode(), what, warnings.warn)


def _config_text(adapter: Adapter) -> str:
    return adapter.config.to_json(adapter.metadata.get("baseModel"))


def _weights(adapter: Adapter, dtype: str, more: Mapping[str, str] | None = None) -> bytes:
    arrays = {
        f"base_model.model.{path}.lora_{factor}.weight": array
        for path in sorted(adapter.tensors)
        for factor, array in zip("AB", adapter.tensors[path], strict=True)
    }
    return safetensors.write(arrays, {"format": "pt", OWN: about.text(adapter), **(more or {})}, dtype)


def _made(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str], config: bytes, what: str, warn) -> Adapter:
    tensors = _pairs(arrays, what)
    given = load_object(config, f"{what}, {CONFIG}", InvalidAdapter, InvalidAdapter)
    base = given.get("base_model_name_or_path")
    adapter = Adapter(
        _config(given, tensors, what, warn),
        tensors,
        name=what if NAME.test(what) else "adapter",
        metadata={"baseModel": base[:200]} if isinstance(base, str) and base else {},
    )
    return about.restored(adapter, metadata.get(OWN), what)


def _pairs(arrays: Mapping[str, np.ndarray], what: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """{module's path: (A, B)} of a state dict."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for key, array in arrays.items():
        path, factor = _placed(key, what)
        pair = found.setdefault(path, {})
        if factor in pair:
            raise InvalidAdapter(f"{what}: two tensors are factor {factor} of {path[:80]!r}.", module=path)
        pair[factor] = array
    if not found:
        raise InvalidAdapter(f"{what} holds no factors: nothing was saved. Save the trained adapter again.")
    if alone := next((path for path, pair in found.items() if len(pair) < 2), None):
        raise InvalidAdapter(
            f"{what}: {alone[:80]!r} has factor {next(iter(found[alone]))} and not the other.", module=alone
        )
    return {path: (pair["A"], pair["B"]) for path, pair in found.items()}


def _placed(key: str, what: str) -> tuple[str, str]:
    """(module's path, "A" or "B") of a key."""
    if why := next((why for word, why in FOREIGN.items() if word in key), None):
        raise UnsupportedAdapter(
            f"{what} cannot be used: {why} ({key[:80]!r}). Train a plain LoRA instead.", tensor=key[:200]
        )
    if not (match := _KEY.fullmatch(key)):
        raise InvalidAdapter(
            f"{what} holds {key[:80]!r}, which is no factor of LoRA; their names end in .lora_A.weight or .lora_B.weight."
        )
    return module_path(match[1]), match[2]


def _config(given: Mapping, paths: Iterable[str], what: str, warn: Callable[[str], None]) -> LoraConfig:
    """The config; which modules it adapts, the weights say: `target_modules` may be an expression, and expressions are not run."""
    given = {name: value for name, value in given.items() if value is not None}
    for name, why in REFUSED.items():
        if given.get(name):
            raise UnsupportedAdapter(f"{what} cannot be used: {why} ({name}). Train a plain LoRA instead.", option=name)
    start = given.get("init_lora_weights")
    if isinstance(start, str) and start.lower().startswith(MOVING):
        raise UnsupportedAdapter(
            f"{what} cannot be used as it is: it began as {start[:40]!r}, which changes the base's weights too. Let PEFT convert it to "
            "a plain LoRA (save_pretrained with path_initial_model_for_weight_conversion).",
            option="init_lora_weights",
        )
    given["target_modules"] = sorted({path.rpartition(".")[2] for path in paths})
    return LoraConfig.from_json(json.dumps(given), warn)
