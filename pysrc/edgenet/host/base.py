"""The host protocol: everything that differs between CPython and the browser, behind one face. Runs anywhere.

Only entry points make a host and pass it in. The methods are coroutines where a browser must wait; in CPython the
same coroutines never suspend on local work. Each section names what it needs; a host may lack one and says so.
"""

from typing import Protocol


class Clock(Protocol):
    """The time of day."""

    def now(self) -> float:
        """Seconds since 1970, UTC."""


class Signer(Protocol):
    """A private Ed25519 key (RFC 8032) that signs and never shows itself."""

    public_key: bytes  # 32 raw bytes

    async def sign(self, message: bytes) -> bytes:
        """The 64-byte signature; the same for the same message."""


class Verifier(Protocol):
    """The shape of `verify` wherever a function takes one."""

    async def __call__(self, public_key: bytes, signature: bytes, message: bytes) -> bool:
        """Whether the 64-byte signature by the 32-byte key covers the message. False, never an error, for bad bytes."""


class Storage(Protocol):
    """Named bytes that stay: a folder here, IndexedDB in a page. Names are letters, digits, `.`, `_` and `-`."""

    async def list(self) -> list[str]:
        """The names, sorted."""

    async def get(self, name: str) -> bytes | None:
        """The bytes of a name, or None if there are none."""

    async def put(self, name: str, data: bytes) -> None:
        """Keep bytes, whole or not at all: whatever stops the program, a reader finds the old ones or all of the new ones."""

    async def delete(self, name: str) -> None:
        """Forget a name; one that is not there is no error."""


class Host(Clock, Protocol):
    """A place where EdgeNet's Python runs."""

    name: str

    def random_bytes(self, size: int) -> bytes:
        """Cryptographic randomness."""

    async def verify_ed25519(self, public_key: bytes, signature: bytes, message: bytes) -> bool:
        """See `Verifier`."""
