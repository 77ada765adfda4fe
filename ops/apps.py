"""Apps and their secrets: made at random, shown once, kept hashed where they can be.

API secrets are kept as SHA-256 (256 random bits need no slow hash); device secrets stay readable in the store, since HS256 verifies with them.
At most two of each are valid at a time: a new one pushes out the oldest, which is how a secret is rotated without an outage.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from urllib.parse import urlsplit

import msgspec

from push_core.models import App

NAME = re.compile(r"[a-z0-9_-]{1,64}")
KEPT = 2
WEBHOOK = "webhook"


@dataclass(frozen=True, slots=True)
class Secrets:
    """`key` is what callers send; `device_secret` is what signs device tokens."""

    key: str
    device_secret: str

    def __repr__(self) -> str:
        return "Secrets()"


def new_secret() -> str:
    return secrets.token_urlsafe(32)


def hash_of_key(key: str) -> str:
    """What the store keeps of a key `<app>.<secret>`."""
    return hashlib.sha256(key.partition(".")[2].encode()).hexdigest()


def new_app(name: str, *, now: int, queue_class: str = "shared") -> tuple[App, Secrets]:
    """Raises ValueError for a name that no key could carry."""
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a name for an app: 1 to 64 of a-z, 0-9, - and _")
    made = Secrets(f"{name}.{new_secret()}", new_secret())
    app = App(
        name=name,
        key_hashes=(hash_of_key(made.key),),
        device_secrets=(made.device_secret,),
        queue_class=queue_class,
        created=now,
    )
    return app, made


def with_new_key(app: App) -> tuple[App, str]:
    """The app with one more key, and that key."""
    key = f"{app.name}.{new_secret()}"
    return msgspec.structs.replace(app, key_hashes=(*app.key_hashes, hash_of_key(key))[-KEPT:]), key


def with_new_device_secret(app: App) -> tuple[App, str]:
    """The app with one more device secret, and that secret."""
    secret = new_secret()
    return msgspec.structs.replace(app, device_secrets=(*app.device_secrets, secret)[-KEPT:]), secret


def with_webhook(app: App, url: str | None, *, sign: bool = True, renew: bool = False) -> tuple[App, str | None]:
    """The app with this webhook (None: without one), and its signing secret if that is new.

    The secret stays when only the address changes. Raises ValueError for what is no http(s) URL; which addresses may be called at all is the
    dispatcher's business (`dispatcher/fallback/guard.py`), since it depends on where that runs.
    """
    channels = {name: settings for name, settings in app.channels.items() if name != WEBHOOK}
    if url is None:
        return msgspec.structs.replace(app, channels=channels), None
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url!r} is not an http:// or https:// URL")
    kept = app.channels.get(WEBHOOK, {}).get("secret")
    made = new_secret() if sign and (renew or not kept) else None
    settings = {"url": url} | ({"secret": made or kept} if sign else {})
    return msgspec.structs.replace(app, channels={**channels, WEBHOOK: settings}), made


def with_limit(app: App, rate: float | None, burst: int | None = None) -> App:
    """The app with a rate of its own, in messages a second (0: no limit), or with None again with the push API's. `burst`: how many at once;
    None: as many as in a second. Raises ValueError."""
    if rate is None:
        if burst is not None:
            raise ValueError("a burst goes with a rate")
        return msgspec.structs.replace(app, rate=None, burst=None)
    if not (0 <= rate < float("inf")):
        raise ValueError("the rate must be a number of messages a second, 0 for no limit")
    if burst is not None and burst < 1:
        raise ValueError("the burst must be at least 1")
    return msgspec.structs.replace(app, rate=rate, burst=burst)


def with_sessions(app: App, sessions: int | None) -> App:
    """The app with a number of its own of sessions on one gateway (0: no limit), or with None again with the gateway's. Raises ValueError."""
    if sessions is not None and sessions < 0:
        raise ValueError("the number of sessions must be at least 0; 0 is no limit")
    return msgspec.structs.replace(app, sessions=sessions)


def opens(app: App, key: str) -> bool:
    """Whether the key is one of the app's."""
    hashed = hash_of_key(key)
    return key.partition(".")[0] == app.name and any(hmac.compare_digest(hashed, known) for known in app.key_hashes)
