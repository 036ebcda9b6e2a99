"""Which adapter a request wants: by the likeness of its vector to what each adapter was trained on. Needs NumPy; runs anywhere.

The vectors are the caller's (an embedding model's, of any width); an adapter keeps the mean of its texts', whose model made it, and a
few of the texts. Vectors of two models are never compared, also where they are as wide.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InvalidAdapter, NotFinite, ProfileMismatch, WrongLength
from ..fields import COUNT, TEXT, Check, Field, check_fields, list_of
from .examples import Example

# Cosine below which an adapter has nothing to say to a request. Of MiniLM: requests like the texts have 0.20 to 0.51, others 0.16 at most.
THRESHOLD = 0.18
EXAMPLES, LENGTH = 8, 200  # texts kept, and characters of one
PASSAGES, PASSAGE = 32, 400  # passages of all texts that are embedded, and characters of one at most
ASKED = 500  # characters of a request that are compared: its end, where an answer goes on
# At the ends of lines; a longer line, anywhere
_CUT = re.compile(rf"[\s\S]{{1,{PASSAGE}}}(?=\n|\Z)|[\s\S]{{{PASSAGE}}}")
_NUMBERS = Check("numbers", lambda v: isinstance(v, list) and all(type(n) in (int, float) and abs(n) < 1e30 for n in v))
_FIELDS = (
    Field("mean", _NUMBERS, True),
    Field("count", COUNT, True),
    Field("examples", list_of(TEXT), True),
    Field("model", Check("a text", lambda v: isinstance(v, str))),  # records from before it was kept lack it
)


@dataclass(frozen=True)
class Profile:
    """What an adapter was trained on. `mean`: f32 (d,), of unit vectors; `count`: of how many texts; `examples`: the first few.

    `model`: the embedding model's id@version, "" where nobody said.
    """

    mean: np.ndarray
    count: int
    examples: tuple[str, ...] = ()
    model: str = ""

    def to_data(self) -> dict:
        """As JSON data."""
        return {"mean": self.mean.tolist(), "count": self.count, "examples": list(self.examples), "model": self.model}

    @classmethod
    def from_data(cls, data) -> "Profile":
        """From `to_data`. Raises InvalidAdapter."""
        check_fields(data, _FIELDS, "the adapter's profile", InvalidAdapter)
        return cls(np.array(data["mean"], np.float32), data["count"], tuple(data["examples"]), data.get("model", ""))


def learned(before: Profile | None, vectors: np.ndarray, texts: Sequence[str] = (), model: str = "") -> Profile:
    """The profile after more texts with these vectors, f32 (n, d), of the embedding model `model`.

    Raises ProfileMismatch where `before` is another model's, WrongLength or NotFinite.
    """
    rows = _units(np.atleast_2d(np.asarray(vectors, np.float32)))
    if before:
        _require_same(before, model, rows.shape[1])
    total = rows.sum(axis=0) + (before.mean * before.count if before else 0)
    count = len(rows) + (before.count if before else 0)
    kept = (*(before.examples if before else ()), *(text[:LENGTH] for text in texts if text))
    return Profile((total / count).astype(np.float32), count, kept[:EXAMPLES], model)


def _require_same(before: Profile, model: str, width: int) -> None:
    if before.model != model:
        raise ProfileMismatch(
            f"The adapter's texts became vectors by {before.model or 'an unnamed model'}, and these by {model or 'an unnamed one'}: "
            "use that embedding model, or describe the adapter anew.",
            found=before.model,
            model=model,
        )
    if width != before.mean.size:
        raise WrongLength(
            f"The adapter's texts had vectors of {before.mean.size} numbers, and these have {width}: use one embedding model."
        )


def route(
    vector: np.ndarray, profiles: Mapping[str, Profile], threshold: float = THRESHOLD, model: str = ""
) -> list[tuple[str, float]]:
    """[(id, cosine)] of the adapters at least as like as `threshold`, the likest first. `vector`: f32 (d,), of the model `model`.

    Empty means: none; answer with the base model alone. A profile of another model, or of another width, is left out.
    Raises NotFinite for a vector without a direction.
    """
    (unit,) = _units(np.atleast_2d(np.asarray(vector, np.float32)))
    rows = [
        (id, float(_units(p.mean[None])[0] @ unit))
        for id, p in profiles.items()
        if p.model == model and p.mean.size == unit.size and p.mean.any()
    ]
    return sorted((row for row in rows if row[1] >= threshold), key=lambda row: -row[1])


def sample_of(examples: Iterable[Example]) -> list[str]:
    """A sample of what is learned from, spread over all of it; no text of it is blank. Of a pair its input, which is what a request
    is like.
    """
    passages = [p.strip() for e in examples for p in _CUT.findall(_about(e))]
    filled = [passage for passage in passages if passage]
    count = min(PASSAGES, len(filled))
    return [filled[(2 * i + 1) * len(filled) // (2 * count)] for i in range(count)]


def _about(example: Example) -> str:
    """What of an example says what it is about: its text, else the first of a pair that is not blank."""
    parts = [example] if isinstance(example, str) else [example["input"], example["output"]]
    return next((part for part in parts if part.strip()), "")


def question_of(request: str) -> str:
    """What of a request is compared: its end."""
    return request.strip()[-ASKED:]


def _units(rows: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not rows.size or not np.isfinite(lengths).all() or not lengths.all():
        raise NotFinite(
            "A vector holds NaN, an infinity, or nothing but zeros: it has no direction. Embed the text again."
        )
    return rows / lengths
