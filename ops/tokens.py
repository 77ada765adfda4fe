"""Device tokens (PROTOCOL.md §9): what a business's own server makes for its phones, here for the terminal and the demo."""

from collections.abc import Sequence

import jwt

LONGEST_S = 30 * 86_400


def mint(app: str, device: str, secret: str, *, now_s: int, ttl_s: int = 86_400, topics: Sequence[str] = ()) -> str:
    """An HS256 token for one device. `ttl_s` in seconds, at most 30 days, which is as far ahead as gateways accept; `topics` are patterns of
    those that it may subscribe to."""
    if not 0 < ttl_s <= LONGEST_S:
        raise ValueError(f"a token lives 1 to {LONGEST_S} seconds, not {ttl_s}")
    claims: dict[str, object] = {"iss": app, "sub": device, "exp": now_s + ttl_s}
    if topics:
        claims["topics"] = list(topics)
    return jwt.encode(claims, secret, algorithm="HS256")
