"""Who may talk to the demo page's routes: this machine's browser, on this page, with the token of the printed address.

A page from elsewhere can make a browser send requests to loopback (CSRF, and DNS rebinding, where the foreign name itself
resolves to 127.0.0.1). The Host stops the second, the Origin the first, and the bearer token both once more. Pure.
"""

import hmac
from collections.abc import Collection, Mapping

Refusal = tuple[int, str, str]
"""HTTP status, error code, message."""


def refusal(headers: Mapping[str, str], allowed_hosts: Collection[str]) -> Refusal | None:
    """Why a request may not be answered at all, or None. `headers` has lower-case names."""
    host = headers.get("host", "").lower()
    if host not in allowed_hosts:
        return (
            403,
            "forbidden",
            "The demo page answers on the loopback address that `taco up` printed, and nowhere else.",
        )
    origin = headers.get("origin")
    if origin is not None and origin.lower() != f"http://{host}":
        return 403, "forbidden", "The demo page answers its own page, no other origin."
    return None


def bearer_refusal(headers: Mapping[str, str], token: str) -> Refusal | None:
    """Why a request to the page's API may not be answered, or None."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    # compared as bytes: compare_digest refuses text that is not ASCII
    if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), token.encode()):
        return 401, "unauthorized", "Open the page by the address that `taco up` printed: its token is in there."
    return None
