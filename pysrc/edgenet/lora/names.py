"""Where a module of Hugging Face's model lies in a GGUF file: PEFT's paths ↔ rows of tensors. Runs anywhere.

One table per architecture. A converter keeps a module's rows, puts some together into one tensor (phi3), and for the Llama family
sorts the rows of q and k so that values that turn together are neighbours (llama.cpp, `LlamaModel.permute`).
"""

import re
from dataclasses import dataclass

import numpy as np

from ..errors import MetadataContradicts, UnknownArchitecture
from ..graph.ranges import ranged
from ..models import config as sizes_of

# A module's path below its layer → the parts of the model that its rows are, in order.
_APART = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_PHI2 = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.dense": "attn_output",
    "mlp.fc1": "ffn_up",
    "mlp.fc2": "ffn_down",
}
_PHI3 = {
    "self_attn.qkv_proj": "attn_q attn_k attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_up_proj": "ffn_gate ffn_up",
    "mlp.down_proj": "ffn_down",
}
_BERT = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
}
# Architecture, as the file calls it → its table.
MODULES: dict[str, dict[str, str]] = {
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2"), _APART),
    "phi2": _PHI2,
    "phi3": _PHI3,
    "bert": _BERT,
}
PERMUTED = {"llama", "mistral"}  # architectures whose converter sorts the rows of q and k
FUSED = {
    "attn_qkv": ("attn_q", "attn_k", "attn_v"),
    "ffn_up": ("ffn_gate", "ffn_up"),
}  # tensors that may hold several parts
_LAYER = {"bert": "encoder.layer."}
_DECODER_LAYER = "model.layers."
# What other programs put around a path: wrappers of training libraries, and names of the model as a whole.
_WRAPPERS = re.compile(
    r"(^|\.)(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module|module)(?=\.|$)"
)
_OUTER = re.compile(
    r"(?:base_model\.model\.)*(?:(?:model\.)?(?:language_model\.)?(?:model\.)?(?=layers\.\d)|(?:bert\.)?(?=encoder\.layer\.\d))?"
)


@dataclass(frozen=True)
class Place:
    """Rows `first:last` of a tensor of `rows` rows: the rows of a module's weight from `start` on. `tensor`: its name less `.weight`.

    `heads`: among how many heads the converter sorted these rows; 0 where it kept their order. `width`: the module's inputs.
    """

    tensor: str
    first: int
    last: int
    rows: int
    width: int
    start: int
    heads: int

    @property
    def site(self) -> str:
        """The name of these weights in a Program, less `.weight`."""
        return ranged(self.tensor, self.first, self.last, self.rows)

    def to_file(self, values: np.ndarray) -> np.ndarray:
        """These rows of the module's f32 (out, r), in the file's order."""
        rows = values[self.start : self.start + self.last - self.first]
        return rows if not self.heads else _swapped(rows, self.heads, 2, len(rows) // self.heads // 2)

    def from_file(self, rows: np.ndarray) -> np.ndarray:
        """The inverse: (last - first, r) in the file's order to the module's."""
        return rows if not self.heads else _swapped(rows, self.heads, len(rows) // self.heads // 2, 2)


def _swapped(rows: np.ndarray, heads: int, *pair: int) -> np.ndarray:
    return rows.reshape(heads, *pair, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)


def places(header) -> dict[str, tuple[Place, ...]]:
    """{module's path: its rows in the file} for every module of a GGUF header that can be adapted, layer by layer.

    Raises UnknownArchitecture, and what `models.config.read` raises of metadata that cannot be.
    """
    name = header.architecture
    if name not in MODULES:
        known = ", ".join(MODULES)
        raise UnknownArchitecture(
            f"EdgeNet adapts {known}; the model is of the architecture {name[:60]!r}.", known=list(MODULES)
        )
    config, found = sizes_of.read(header), {}
    if name in PERMUTED and config.head % 2:
        raise MetadataContradicts(f"Heads of {config.head} values cannot turn in pairs, as those of {name} do.")
    q, kv = config.heads * config.head, config.kv_heads * config.head
    rows = {"attn_q": q, "attn_k": kv, "attn_v": kv, "attn_output": config.width}
    rows |= {"ffn_gate": config.ffn, "ffn_up": config.ffn, "ffn_down": config.width}
    heads = {"attn_q": config.heads, "attn_k": config.kv_heads} if name in PERMUTED else {}
    for layer in range(config.layers):
        for path, parts in MODULES[name].items():
            if all(placed := _placed(header, f"blk.{layer}.", parts.split(), rows, heads)):
                found[f"{_LAYER.get(name, _DECODER_LAYER)}{layer}.{path}"] = tuple(placed)
    return found


def _placed(header, at: str, parts: list[str], rows: dict[str, int], heads: dict[str, int]) -> list[Place | None]:
    """A Place for each part of a module, None for one that the file does not have."""
    made, start = [], 0
    for part in parts:
        tensor, first, total = _tensor(header, at, part, rows)
        width = header.tensors[f"{tensor}.weight"].shape[1] if tensor else 0
        place = Place(tensor, first, first + rows[part], total, width, start, heads.get(part, 0))
        made.append(place if tensor else None)
        start += rows[part]
    return made


def _tensor(header, at: str, part: str, rows: dict[str, int]) -> tuple[str, int, int]:
    """(the tensor's name less `.weight`, the part's first row in it, its rows); "" if the part is nowhere."""
    holders = [(part, (part,)), *((fused, parts) for fused, parts in FUSED.items() if part in parts)]
    for name, parts in holders:
        found, total = header.tensors.get(f"{at}{name}.weight"), sum(rows[p] for p in parts)
        if found is not None and len(found.shape) == 2 and found.shape[0] == total:
            return at + name, sum(rows[p] for p in parts[: parts.index(part)]), total
    return "", 0, 0


def module_path(key: str) -> str:
    """The path, as `places` gives it, that a key of an adapter's file means, without what programs put around it.

    A path that is none of a language model's layers keeps its name, so that an error can tell it.
    """
    plain = _WRAPPERS.sub("", key).lstrip(".")
    inner = plain[_OUTER.match(plain).end() :]
    return f"model.{inner}" if inner.startswith("layers.") else inner
