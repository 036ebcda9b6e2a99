"""How a byte-level BPE cuts text into words before merging: one row per name of `tokenizer.ggml.pre`. Pure data, runs anywhere.

A name is what llama.cpp's converter writes; the patterns are those of the models' own `tokenizer.json`, in the regex syntax that
Hugging Face's `tokenizers` reads (Oniguruma) and that llama.cpp follows (src/llama-vocab.cpp): applied in turn, each match and each
gap becoming a word. Where a model's own tokenizer composes characters first (NFC) and llama.cpp does not, the model's own rule is kept.
"""

from typing import NamedTuple

from ..errors import TokenizerInvalid

_CONTRACTIONS = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_TAIL = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_CASED = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]%s[\p{Ll}\p{Lm}\p{Lo}\p{M}]%s"
_CASED_TAIL = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}{{1,3}}|{_TAIL}"
QWEN2 = rf"{_CONTRACTIONS}|{_WORD}|\p{{N}}|{_TAIL}"
QWEN35 = rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
TEKKEN = rf"{_CASED % ('*', '+')}|{_CASED % ('+', '*')}|\p{{N}}|{_CASED_TAIL}"
GPT4O = rf"{_CASED % ('*', '+')}{_CONTRACTIONS}?|{_CASED % ('+', '*')}{_CONTRACTIONS}?|\p{{N}}{{1,3}}|{_CASED_TAIL}"
_CJK = "[一-龥\u0800-一가-퟿]+"
_KANA = "[一-龥\u3040-ゟ゠-ヿ]+"
# DeepSeek's letters with case; escaped, because editors compose some of them
_LATIN_GREEK_CYRILLIC = (
    "[A-Za-z\xb5\xc0-\xd6\xd8-\xf6\xf8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-\u0373\u0376\u0377\u037b-\u037d\u037f"
    "\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-"
    "\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d"
    "\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb"
    "\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134"
    "\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b"
    "\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a\U00010400-\U0001044f"
    "\U000104b0-\U000104d3\U000104d8-\U000104fb\U00010c80-\U00010cb2\U00010cc0-\U00010cf2\U000118a0-\U000118df\U0001e900-\U0001e943]+"
)
_DEEPSEEK3 = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_BLOOM = r" ?[^(\s|.,!?…。，、।۔،)]+"


class Pre(NamedTuple):
    """One way to cut. `add_bos` is what holds when the file does not say; `ignore_merges` takes a word that is a token as it is."""

    patterns: tuple[str, ...]
    nfc: bool = False
    ignore_merges: bool = False
    add_bos: bool = False


_ROWS = {
    "default": Pre((r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]")),
    "gpt-2 phi-2 jina-es jina-de jina-v2-es jina-v2-de jina-v1-en jina-v2-code roberta-bpe gigachat a.x-4.0 mellum exaone4 jais trillion "
    "granite-docling": Pre((GPT2,)),
    "mpt olmo modern-bert": Pre((GPT2,), nfc=True),
    "llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano": Pre(
        (LLAMA3,), ignore_merges=True, add_bos=True
    ),
    "dbrx smaug-bpe chatglm-bpe": Pre((LLAMA3,)),
    "glm4 glm5": Pre((LLAMA3,), ignore_merges=True),
    "qwen2 deepseek-r1-qwen kormo f2llmv2 megrez": Pre((QWEN2,), nfc=True),
    "stablelm2 hunyuan solar-open grok-2": Pre((QWEN2,)),
    "qwen35": Pre((QWEN35,)),
    "starcoder refact smollm codeshell exaone minerva-7b mellum2": Pre((r"\p{N}", GPT2)),
    "command-r": Pre((r"\p{N}", GPT2), nfc=True),
    "falcon": Pre((r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]")),
    "deepseek-llm": Pre(
        (r"[\r\n]", rf"\s?{_LATIN_GREEK_CYRILLIC}", "\\s?[!-/:-~！-／：-～‘-‟\u3000-。]+", r"\s+$", _CJK, r"\p{N}+")
    ),
    "deepseek-coder": Pre((r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", _CJK, r"\p{N}")),
    "deepseek-v3 hunyuan-dense joyai-llm": Pre((r"\p{N}{1,3}", _KANA, _DEEPSEEK3)),
    "tekken": Pre((TEKKEN,), ignore_merges=True, add_bos=True),
    "gpt-4o llama4 kanana2 talkie minimax-m2": Pre((GPT4O,)),
    "poro-chat bloom gpt3-finnish": Pre((_BLOOM,)),
    "viking": Pre((_BLOOM, r"\p{N}")),
}
PRE_TOKENIZERS = {name: row for names, row in _ROWS.items() for name in names.split()}


def pre_tokenizer(name: str | None) -> Pre:
    """The row of a name; a file without a name gets `default`, as in llama.cpp. Raises TokenizerInvalid for one that is not in the
    table.
    """
    try:
        return PRE_TOKENIZERS[name or "default"]
    except (KeyError, TypeError):
        text = f"The model's tokenizer cuts text by {name!r}, which EdgeNet does not know. Known: {', '.join(sorted(PRE_TOKENIZERS))}."
        raise TokenizerInvalid(text, pre=str(name)) from None
