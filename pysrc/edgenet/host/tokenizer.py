"""The CPython host's way to run a tokenizer.json: Hugging Face's `tokenizers`. Not for Pyodide."""

import json

from tokenizers import Tokenizer

from ..errors import TokenizerInvalid
from ..text.encode import PlainEncoder, TextTokenizer


def plain_encoder(config: dict) -> PlainEncoder:
    """Implements `make_plain` of `text.encode.TextTokenizer`. Raises TokenizerInvalid when the library refuses `config`."""
    try:
        tokenizer = Tokenizer.from_str(json.dumps(config))
    except Exception as error:  # the library raises plain Exception
        raise TokenizerInvalid(f"The tokenizer cannot be built: {error}. Get the model's files anew.") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids


def text_tokenizer(tokenizer_json: dict) -> TextTokenizer:
    """The tokenizer of a tokenizer.json's content."""
    return TextTokenizer(tokenizer_json, plain_encoder)
