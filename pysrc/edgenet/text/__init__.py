"""Text for the model: passages that fit it. Runs anywhere."""

from .split import MAX_TOKENS, Passage, split

__all__ = ["MAX_TOKENS", "Passage", "split"]
