"""`generation.json`: what a session must know of a model beside its Program and its tokenizer. Pure, runs anywhere."""

from .gguf_tokenizer import adds
from .special import read_tokens, token_id

_FILE_TYPES = {0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L",
               14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 32: "BF16"}   # `general.file_type`, as the GGUF specification numbers


def generation_json(metadata: dict, parameters: int | None = None) -> dict:
    """The content of generation.json, from a GGUF file's keys and values; `parameters` is the number of weights, which the header's tensors tell.

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
        "quantization": _FILE_TYPES.get(metadata.get("general.file_type")),
    }
