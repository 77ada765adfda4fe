"""The device token in use, and how to get another (PROTOCOL.md §6, 4200–4299). Knows nothing of what is in a token."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable

TokenProvider = Callable[[int | None], str | Awaitable[str]]
"""Called with the close code that refused the last token, or None; a plain function is called in a thread, so it may block."""

PROVIDER_TIMEOUT_S = 30.0  # one that hasn't answered by then has failed; the client tries again with backoff


class Tokens:
    def __init__(self, source: str | TokenProvider) -> None:
        self._provider = None if isinstance(source, str) else source
        self._token = source if isinstance(source, str) else None
        self._code: int | None = None

    @property
    def can_renew(self) -> bool:
        """Whether a refused token can be followed by another."""
        return self._provider is not None

    async def get(self) -> str:
        """Raises what the provider raises, TimeoutError when it takes too long, TypeError when it gives no token."""
        if self._token is not None:
            return self._token
        provider = self._provider
        assert provider is not None  # a fixed token is never dropped
        async with asyncio.timeout(PROVIDER_TIMEOUT_S):
            if inspect.iscoroutinefunction(provider):
                token = await provider(self._code)
            else:
                token = await asyncio.to_thread(provider, self._code)
                if inspect.isawaitable(token):  # an object whose __call__ is async, or a lambda around a coroutine
                    token = await token
        if not isinstance(token, str) or not token:
            raise TypeError("the token provider gave no token")
        self._token = token
        return token

    def refuse(self, code: int) -> None:
        """The server closed with `code`: the token is of no use any more."""
        if self._provider is not None:
            self._token = None
        self._code = code
