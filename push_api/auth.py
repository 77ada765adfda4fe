"""Who is calling: `Authorization: Bearer <app>.<secret>` to an App (docs/api.md).

The store holds SHA-256 of secrets only, and comparing takes the same time for a wrong secret as for an unknown app, with the same answer, so
that nobody learns which apps exist. Apps come from a small cache: a changed key counts when its time is over.
"""

import hashlib
import hmac
import re
from collections.abc import Sequence

from push_api.deadlines import within
from push_core.cache import Cache
from push_core.clock import Clock
from push_core.devices.port import Devices
from push_core.errors import UserError
from push_core.metrics.port import Metrics
from push_core.models import App

_BEARER = re.compile(r"bearer +(\S+) *\Z", re.IGNORECASE)
_APP = re.compile(r"[a-z0-9_-]{1,64}\Z")
_NO_HASH = ("0" * 64,)  # no SHA-256 is known to be this
MAX_KEY = 512
REMEMBERED = 1_024  # keys that were right and need no hashing again; at it they are all forgotten


class Authenticator:
    """`ttl_s` and `size` bound the cache, `timeout_s` one question to the store. For `stale_s` past its time a key is still good while the store
    can't be asked: it could not be taken away there either."""

    def __init__(
        self,
        devices: Devices,
        clock: Clock,
        metrics: Metrics,
        *,
        ttl_s: float,
        stale_s: float,
        size: int,
        timeout_s: float,
    ) -> None:
        self._devices = devices
        self._timeout_s = timeout_s
        self._digests: dict[str, tuple[str, str]] = {}  # header of a key that was right → its app's name, SHA-256
        self._apps: Cache[str, App] = Cache(
            self._load,
            ttl_s=ttl_s,
            stale_s=stale_s,
            size=size,
            name="api.apps",
            metrics=metrics,
            monotonic=clock.monotonic,
        )

    async def app_of(self, authorization: str | None) -> App:
        """The app whose key this is. Raises UserError: 401 for no key or a wrong one, 403 for an app that is disabled."""
        seen = self._digests.get(authorization) if authorization else None
        name, digest = seen or _read(authorization)
        app = await self._apps.get(name) if seen or _APP.match(name) else None
        known = False
        for wanted in (app.key_hashes if app is not None else ()) or _NO_HASH:
            known |= hmac.compare_digest(digest, wanted)
        if app is None or not known:
            raise UserError("the key is not known", code="unauthorized")
        if seen is None and authorization:
            if len(self._digests) >= REMEMBERED:
                self._digests.clear()
            self._digests[authorization] = name, digest
        if app.disabled:
            raise UserError("the app is disabled", code="app_disabled")
        return app

    async def close(self) -> None:
        await self._apps.close()

    async def _load(self, names: Sequence[str]) -> list[App | None]:
        return await within(self._timeout_s, "the device store", self._devices.apps(names))


def _read(authorization: str | None) -> tuple[str, str]:
    """The app that is named, and SHA-256 of the secret. Raises UserError."""
    match = _BEARER.match(authorization) if authorization else None
    if match is None or len(match[1]) > MAX_KEY:
        raise UserError("send Authorization: Bearer <app>.<secret>", code="unauthorized")
    name, _, secret = match[1].partition(".")
    return name, hashlib.sha256(secret.encode()).hexdigest()
