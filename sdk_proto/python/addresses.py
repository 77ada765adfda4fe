"""Which gateway address the next attempt goes to (PROTOCOL.md §5, "Migrate", and §6). Pure; dials nothing."""

from collections.abc import Sequence
from urllib.parse import urlsplit


class Addresses:
    def __init__(self, urls: Sequence[str]) -> None:
        """`urls` in order of preference. Raises ValueError if there is none, or one that is no WebSocket address."""
        if not urls:
            raise ValueError("no gateway url")
        for url in urls:
            if _scheme(url) is None:
                raise ValueError(f"not a WebSocket url: {url}")
        self._home = tuple(urls)
        self._list = self._home
        self._at = 0

    @property
    def next(self) -> str:
        return self._list[self._at]

    def failed(self) -> None:
        """The attempt at `next` got no welcome: try the following one; a detour whose addresses all failed is given up."""
        self._at += 1
        if self._at >= len(self._list):
            self._at = 0
            self._list = self._home

    def reached(self) -> None:
        """The attempt at `next` was welcomed. A detour is for one connection: the one after it goes home again."""
        if self._list is not self._home:
            self._list = self._home
            self._at = 0

    def elsewhere(self) -> None:
        """Told to go elsewhere without an address: the following one of ours."""
        if self._list is self._home:
            self._at = (self._at + 1) % len(self._home)

    def migrate(self, urls: Sequence[str], *, permanent: bool) -> None:
        """Told where to go. An address without TLS is not taken from one with it: nobody may talk a device down to plain text."""
        secure = all(_scheme(url) == "wss" for url in self._home)
        usable = tuple(url for url in urls if _scheme(url) == "wss" or (_scheme(url) == "ws" and not secure))
        if not usable:
            self.elsewhere()
            return
        self._list = usable
        self._at = 0
        if permanent:
            self._home = usable


def _scheme(url: str) -> str | None:
    """`ws` or `wss`, or None for what is no WebSocket address."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return parts.scheme if parts.scheme in ("ws", "wss") and parts.hostname else None
