"""Stop sequences in a stream of text, also across the borders of pieces. Pure, runs anywhere; twin of `web/text/stops.js`."""

from collections.abc import Sequence

from ..errors import InvalidOption


class StopSequences:
    """Holds back text that may be the start of a stop. Raises InvalidOption when a stop is empty: it would end everything."""

    def __init__(self, stops: Sequence[str]):
        if not all(stops):
            raise InvalidOption("A stop sequence is empty: nothing could be generated. Leave it out.")
        self._stops = tuple(stops)
        self._held = ""
        self.found: str | None = None  # the stop that was met

    def push(self, text: str) -> str:
        """What may be shown now. After a stop was found, and from then on, nothing; the stop itself is never shown."""
        if self.found is not None:
            return ""
        text = self._held + text
        hits = [(at, -len(stop), stop) for stop in self._stops if (at := text.find(stop)) >= 0]
        if hits:
            at, _, self.found = min(hits)
            self._held = ""
            return text[:at]
        safe = len(text) - self._open(text)
        self._held = text[safe:]
        return text[:safe]

    def end(self) -> str:
        """What was held back and turned out to be no stop."""
        text, self._held = self._held, ""
        return text

    def _open(self, text: str) -> int:
        """How many last characters are the start of a stop."""
        longest = max(map(len, self._stops), default=1) - 1
        return next(
            (n for n in range(min(longest, len(text)), 0, -1) if any(s.startswith(text[-n:]) for s in self._stops)), 0
        )
