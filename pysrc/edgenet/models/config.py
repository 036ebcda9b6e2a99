"""What a file says of its model, as one value: sizes of tensors, attention, caps, pooling. Runs anywhere; imports no NumPy."""

from dataclasses import dataclass

from ..errors import MetadataContradicts, MissingTensor, NotSupported
from ..formats.gguf_info import is_encoder
from .metadata import Metadata

POOLINGS = {1: "mean", 2: "cls", 3: "last"}  # {arch}.pooling_type; 0 is none, 4 a classifier


@dataclass(frozen=True)
class Config:
    """Sizes are numbers of values. `head` is the width of one head, `rotary` how many of its values turn with the position."""

    architecture: str
    layers: int
    width: int
    heads: int
    kv_heads: int
    head: int
    rotary: int
    ffn: int
    vocabulary: int
    context: int  # tokens of one sequence that the model was made for
    epsilon: float
    scale: float  # of attention's scores
    window: int  # positions that a sliding layer sees, itself included; 0: all
    score_cap: float  # 0: none
    logit_cap: float
    pooling: str


def read(header) -> Config:
    """The configuration of a GGUF header. Raises MetadataMissing, MetadataContradicts, MissingTensor or NotSupported."""
    m = Metadata(header.metadata)
    if m.integer("{arch}.expert_count", 0, 1 << 16, 0):
        raise NotSupported(
            f"This {m.architecture} model is a mixture of experts, which the engine does not run yet; choose a dense model."
        )
    width, heads = (
        m.integer("{arch}.embedding_length", 1, 1 << 16),
        m.integer("{arch}.attention.head_count", 1, 1 << 10),
    )
    head = m.integer("{arch}.attention.key_length", 2, 1 << 10, 0) or _share(m, width, heads)
    return Config(
        architecture=m.architecture,
        layers=m.integer("{arch}.block_count", 1, 1 << 10),
        width=width,
        heads=heads,
        kv_heads=_kv_heads(m, heads),
        head=head,
        rotary=_rotary(m, head),
        ffn=m.integer("{arch}.feed_forward_length", 1, 1 << 20),
        vocabulary=_vocabulary(header),
        context=m.integer("{arch}.context_length", 1, 1 << 24),
        epsilon=_epsilon(m),
        scale=m.number("{arch}.attention.scale", 0, 1e3, 0.0) or head**-0.5,
        window=m.integer("{arch}.attention.sliding_window", 0, 1 << 30, 0),
        score_cap=m.number("{arch}.attn_logit_softcapping", 0, 1e6, 0.0),
        logit_cap=m.number("{arch}.final_logit_softcapping", 0, 1e6, 0.0),
        pooling=_pooling(m),
    )


def _share(m: Metadata, width: int, heads: int) -> int:
    if width % heads:
        raise MetadataContradicts(
            f"{m.key('{arch}.embedding_length')} {width} is no multiple of its {heads} heads, and no key_length is given."
        )
    return width // heads


def _kv_heads(m: Metadata, heads: int) -> int:
    kv_heads = m.integer("{arch}.attention.head_count_kv", 1, 1 << 10, heads)
    if heads % kv_heads:
        raise MetadataContradicts(f"{heads} attention heads cannot share {kv_heads} heads of keys and values evenly.")
    return kv_heads


def _rotary(m: Metadata, head: int) -> int:
    value, rotary = (
        m.integer("{arch}.attention.value_length", 1, 1 << 10, head),
        m.integer("{arch}.rope.dimension_count", 2, head, head),
    )
    if value != head:
        raise NotSupported(
            f"Keys of {head} and values of {value} numbers per head: the engine runs models where they agree."
        )
    if rotary % 2:
        raise MetadataContradicts(f"{m.key('{arch}.rope.dimension_count')} is {rotary}; rotary values come in pairs.")
    return rotary


def _vocabulary(header) -> int:
    """Rows of the embedding: the files' own `vocab_size` is often absent, and padded vocabularies are longer than the token list."""
    table = header.tensors.get("token_embd.weight")
    if table is None or len(table.shape) != 2:
        raise MissingTensor(
            "The file has no matrix 'token_embd.weight' (the token embeddings): this is no language model. "
            "It may hold a vocabulary or an adapter alone; choose the file with the model's weights."
        )
    return table.shape[0]


def _epsilon(m: Metadata) -> float:
    key = "{arch}.attention.layer_norm_rms_epsilon"
    return m.number(key if m.has(key) else "{arch}.attention.layer_norm_epsilon", 1e-30, 1.0)


def _pooling(m: Metadata) -> str:
    """Absent, it is the mean: what sentence-transformers does when a model does not say."""
    kind = m.integer("{arch}.pooling_type", 0, 1 << 16, 1)
    if kind not in POOLINGS and is_encoder(m.architecture):
        raise NotSupported(
            f"Pooling type {kind} gives no embedding; the engine knows {POOLINGS} of {m.key('{arch}.pooling_type')}."
        )
    return POOLINGS.get(kind, "mean")
