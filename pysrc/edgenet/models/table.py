"""The table of architectures, by the names GGUF files give them. Runs anywhere; imports no NumPy."""

from collections.abc import Callable, Mapping, Sequence

from ..errors import TensorValuesNeeded, UnknownArchitecture
from ..graph import Graph
from . import config, rope_scaling
from .bert import bert, nomic_bert
from .blocks import Build
from .gemma import gemma, gemma2
from .llama import llama
from .metadata import Metadata
from .phi import phi2, phi3
from .qwen import qwen

ARCHITECTURES: dict[str, Callable[[Build], None]] = {
    "llama": llama,
    "mistral": llama,
    "qwen2": qwen,
    "qwen3": qwen,
    "phi2": phi2,
    "phi3": phi3,
    "gemma": gemma,
    "gemma2": gemma2,
    "bert": bert,
    "nomic-bert": nomic_bert,
}


def values_needed(header) -> list[str]:
    """Tensors whose numbers `build` needs beside the header: at most three short ones, f32."""
    return [name for name in rope_scaling.VALUES if name in header.tensors]


def build(header, values: Mapping[str, Sequence[float]] | None = None, context: int = 2048) -> Graph:
    """The Graph of a GGUF header, for sequences of up to `context` tokens.

    `values`: the numbers of each of `values_needed(header)`. Inputs are i32: `tokens positions sequences` (n) and `wanted` (m) for
    decoders (output `logits` f32 (m, vocabulary)), `tokens positions sequences types` for encoders (output `embedding` f32 (s, width)).

    Raises UnknownArchitecture, TensorValuesNeeded, MetadataMissing, MetadataContradicts, MissingTensor, WrongTensorShape, NotSupported.
    """
    return built(Build, header, values, context).graph


def built(
    kind: Callable[..., Build],
    header,
    values: Mapping[str, Sequence[float]] | None = None,
    context: int = 2048,
) -> Build:
    """What `build` gives the graph of, for the purpose that is the kind's. Raises as `build` does."""
    name = Metadata(header.metadata).architecture
    if name not in ARCHITECTURES:
        raise UnknownArchitecture(
            f"The file's architecture is {name[:60]!r}; EdgeNet builds {', '.join(ARCHITECTURES)}.",
            known=list(ARCHITECTURES),
        )
    missing = [n for n in values_needed(header) if n not in (values or {})]
    if missing:
        raise TensorValuesNeeded(
            f"The graph depends on the numbers of {', '.join(missing)}: pass them as values.",
            tensors=missing,
        )
    b = kind(Graph(name), header, config.read(header), context, values or {})
    ARCHITECTURES[name](b)
    return b
