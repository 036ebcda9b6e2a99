"""`generation.json`: what a session must know of a model beside its Program and its tokenizer. Pure, runs anywhere."""

from ..formats.types import file_type
from .gguf_tokenizer import adds
from .special import read_tokens, token_id


def generation_json(metadata: dict, parameters: int | None = None) -> dict:
    """The content of generation.json, from a GGUF file's keys and values; `parameters` is the number of weights, which the header's
    tensors tell.

    Raises TokenizerInvalid as `special.read_tokens` does.
    """
    architecture = metadata.get("general.architecture")
    tokens = read_tokens(metadata)
    template = metadata.get("tokenizer.chat_template")
    return {
        "architecture": architecture,
        "context": metadata.get(f"{architecture}.context_length"),
        "bos": token_id(metadata, "bos", len(tokens.texts)),
        "addBos": adds(metadata)[0],
        "eos": tokens.ends,
        "special": {tokens.texts[i]: i for i in tokens.special()},
        "chatTemplate": template if isinstance(template, str) and template else None,
        "stop": [],
        "name": metadata.get("general.name"),
        "parameters": parameters,
        "quantization": file_type(metadata),
    }
