"""Ed25519 by RFC 8032 section 5.1 in plain integers: the tests' own oracle, the same in CPython and Pyodide.

Slow, not constant in time, and so never for real keys: the product signs and verifies through its host.
"""

from hashlib import sha512

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)
NEUTRAL = (0, 1, 1, 0)


def add(p, q):
    """Sum of two points in extended coordinates (X, Y, Z, T), RFC 8032 5.1.4."""
    a = (p[1] - p[0]) * (q[1] - q[0]) % P
    b = (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def multiply(scalar, point):
    total = NEUTRAL
    while scalar:
        if scalar & 1:
            total = add(total, point)
        point, scalar = add(point, point), scalar >> 1
    return total


def decode(raw):
    """The point of 32 bytes, or None (RFC 8032 5.1.3)."""
    y = int.from_bytes(raw, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    if v * x * x % P == -u % P:
        x = x * SQRT_M1 % P
    if y >= P or v * x * x % P != u or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


def encode(point):
    inverse = pow(point[2], -1, P)
    x, y = point[0] * inverse % P, point[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


BASE = decode((4 * pow(5, -1, P) % P).to_bytes(32, "little"))


def _hash(*parts):
    return int.from_bytes(sha512(b"".join(parts)).digest(), "little") % ORDER


class ReferenceSigner:
    """`host.base.Signer` over a 32-byte seed."""

    def __init__(self, seed: bytes):
        digest = sha512(seed).digest()
        self._scalar = int.from_bytes(digest[:32], "little") & (2**254 - 8) | 2**254
        self._prefix = digest[32:]
        self.public_key = encode(multiply(self._scalar, BASE))

    async def sign(self, message: bytes) -> bytes:
        nonce = _hash(self._prefix, message)
        point = encode(multiply(nonce, BASE))
        response = (nonce + _hash(point, self.public_key, message) * self._scalar) % ORDER
        return point + response.to_bytes(32, "little")


async def verify(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """`host.base.Verifier`: RFC 8032 5.1.7, refusing S >= L."""
    key, point = decode(public_key), decode(signature[:32])
    response = int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or key is None or point is None or response >= ORDER:
        return False
    challenge = _hash(signature[:32], public_key, message)
    return encode(multiply(response, BASE)) == encode(add(point, multiply(challenge, key)))
