"""Write tests/vectors/tokenize.json and split.json: `python tests/make_text_vectors.py TOKENIZER.JSON`. Run by hand when a rule changes.

Token ids are those of Hugging Face's Rust tokenizers; splits are those of Python's `edgenet.text.split`, read through once by a person.
Offsets are code points. The split vectors count a unit as a token for every four characters, so that no tokenizer is needed.
"""

import json
import math
import sys
from pathlib import Path

VECTORS = Path(__file__).parent / "vectors"
TEXTS = {
    "plain": "The quick brown fox jumps over the lazy dog.",
    "capitals and accents": "CRÈME Brûlée, naïve façade, ÅNGSTRÖM, İstanbul",
    "emoji with joiners and flags": "👩‍👩‍👧‍👦 family 🇳🇱 flag 👍🏽 tone ☎️",
    "Chinese": "我昨天在图书馆借了三本书。",
    "Japanese": "今日は雨が降っています。東京タワー",
    "Korean decomposes into jamo": "오늘 회의는 세 시에 시작합니다",
    "right to left": "אני אוהב ספרים مرحبا بالعالم",
    "mixed directions": "price: 100 ₪ (مئة) ok",
    "control characters": "a\u0000b\u0007c\u001bd\u007fe",
    "zero width and soft hyphen": "zero\u200bwidth soft\u00adhyphen \u2060joiner\ufeff",
    "all kinds of white space": "a\tb\nc\rd\u00a0e\u2003f\u3000g\u2028h",
    "form feed and vertical tab": "a\u000bb\u000cc\u0085d",
    "combining marks alone": "\u0301\u0302 e\u0301",
    "punctuation runs": "!!! ?!... --> ==> [[x]] {y} ~`^",
    "typographic punctuation": "“curly” ‘quotes’ – dash — … « guillemets »",
    "numbers": "3.14159 1,000,000 -42 1e-9 0xDEADBEEF ½ ²",
    "code": "for (let i = 0; i < n; ++i) sum += a[i] * b[i]; // done",
    "address": "https://example.org/a/b?c=d&e=%20f#frag user@example.com",
    "a word over the limit of 100 letters": "x" * 101 + " tail",
    "a word of exactly 100 letters": "ab" * 50,
    "special tokens written out": "[CLS] not a mark [SEP] [MASK] [UNK] [PAD]",
    "replacement character": "bad \ufffd byte",
    "private use and unassigned": "\ue000 \U000f0000 \u0378",
    "Thai has no spaces": "สวัสดีครับวันนี้อากาศดี",
    "Devanagari": "मुझे एक कप चाय चाहिए।",
    "ligatures and full width": "ﬁne ﬂour ＡＢＣ １２３",
    "Han beyond the basic plane": "𠀀𠀁 and 𪜀",
    "mathematics": "∑ x² ≤ ∫ f(t) dt ≈ π",
    "one letter": "a",
    "German sharp s": "Straße STRASSE ẞ",
    "Greek final sigma": "ΟΔΥΣΣΕΥΣ Οδυσσεύς",
    "Turkish dotless i": "ıI iİ",
}
PROSE = "One sentence is here. Another one follows it! Does a third? Yes, it does. "
SPLITS = {
    "a short text is one passage": ("Hello world.", {}),
    "white space at the edges is left out": ("  \n\t hello there \n ", {}),
    "paragraphs are passages": (
        "\n\n".join(f"{name} " + "word goes on and on " * 8 for name in ("First", "Second", "Third")),
        {},
    ),
    "a heading joins its paragraph": ("# Title\n\n" + "The text under the title. " * 6, {}),
    "a long paragraph breaks after sentences": (PROSE * 30, {}),
    "the overlap repeats whole sentences": (PROSE * 8, {"max_tokens": 40, "overlap": 12}),
    "no overlap": (PROSE * 8, {"max_tokens": 40, "overlap": 0}),
    "without sentences it breaks after words": ("alpha beta gamma delta " * 60, {"max_tokens": 64}),
    "a run of letters without end": ("x" * 700, {"max_tokens": 64}),
    "Chinese breaks after its own full stop": ("我们去图书馆借书。" * 40, {"max_tokens": 64}),
    "Japanese kana in long runs": ("ひらがなだけのながいぶんしょう。" * 20, {"max_tokens": 64}),
    "emoji take one offset each": ("👩‍👩‍👧 🙂 " * 30, {"max_tokens": 32, "overlap": 4}),
    "windows line ends": ("one two three\r\n\r\n" + "four five six " * 12 + "\r\nseven", {}),
    "a list": ("\n".join(f"- item number {i}" for i in range(60)), {"max_tokens": 64}),
    "minified code": ("a.b(c,d);" * 80, {"max_tokens": 64}),
    "right to left": ("שלום עולם. " * 40, {"max_tokens": 40}),
    "combining marks count when decomposed": ("가나다라마바사" * 30, {"max_tokens": 64}),
    "control characters stay in the text": ("one\u0000two \u0007three. " * 30, {"max_tokens": 40}),
}


def count_unit(unit: str) -> int:
    return math.ceil(len(unit) / 4)


def main(tokenizer_json: str) -> None:
    from tokenizers import Tokenizer

    from edgenet.text import split

    tokenizer = Tokenizer.from_file(tokenizer_json)
    rows = [{"why": why, "text": text, "ids": tokenizer.encode(text).ids} for why, text in TEXTS.items()]
    write("tokenize.json", rows)
    write(
        "split.json",
        [
            {
                "why": why,
                "text": text,
                "options": options,
                "passages": [[p.start, p.end, p.tokens] for p in split(text, count_unit, **options)],
            }
            for why, (text, options) in SPLITS.items()
        ],
    )


def write(name: str, rows: list[dict]) -> None:
    lines = ",\n".join(json.dumps(row) for row in rows)
    (VECTORS / name).write_text(f"[\n{lines}\n]\n", "utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
