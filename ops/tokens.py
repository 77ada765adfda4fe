"""Device tokens (PROTOCOL.md §9): what a business's own server makes for its phones, here for the terminal and the demo."""

import jwt

LONGEST_S = 30 * 86_400


def mint(app: str, device: str, secret: str, *, now_s: int, ttl_s: int = 86_400) -> str:
    """An HS256 token for one device. `ttl_s` in seconds, at most 30 days, which is as far ahead as gateways accept."""
    if not 0 < ttl_s <= LONGEST_S:
        raise ValueError(f"a token lives 1 to {LONGEST_S} seconds, not {ttl_s}")
    return jwt.encode({"iss": app, "sub": device, "exp": now_s + ttl_s}, secret, algorithm="HS256")
