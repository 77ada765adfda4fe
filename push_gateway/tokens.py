"""Device tokens (PROTOCOL.md §9): whether a JWT was made by an app for a device. The one file that imports PyJWT.

The algorithm belongs to the key and never to the token: a token is checked with an app's keys, each by its own algorithm.
Whatever is wrong with a token, the answer is the same. Time is an argument.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeGuard

import msgspec
import structlog
from jwt import PyJWS
from jwt.algorithms import Algorithm, HMACAlgorithm, get_default_algorithms
from jwt.exceptions import PyJWTError

from push_core.models import App, PublicKey
from push_core.topics import patterns_of

LEEWAY_S = 60
LONGEST_S = 30 * 86_400
log = structlog.get_logger(__name__)


class _Hmac(HMACAlgorithm):
    """HS256 with the app's secret as it is. PyJWT looks at each use whether a secret is short or might be a public key in PEM; the first
    is the app's to decide, the second can't be mistaken where the algorithm belongs to the key."""

    def prepare_key(self, key: Any) -> bytes:
        return bytes(key)

    def check_key_length(self, key: bytes) -> None:  # noqa: ARG002 - PyJWT's signature
        return None


@dataclass(frozen=True, slots=True, repr=False)
class Key:
    """A key ready for use, of one algorithm. `kid` None answers for every token."""

    algorithm: str
    secret: Any
    kid: str | None = None


class Grant(NamedTuple):
    """What a good token gives: `expires_s`, Unix seconds, and patterns of the topics that its device may subscribe to. A claim `topics` that
    makes no sense gives none: its device may come in all the same."""

    expires_s: int
    topics: Sequence[str]


@dataclass(frozen=True, slots=True, repr=False)
class AppKeys:
    """What a gateway remembers of an app."""

    name: str
    disabled: bool
    keys: tuple[Key, ...]
    sessions: int | None = None

    @classmethod
    def of(cls, app: App) -> "AppKeys":
        """A public key that can't be read is left out and logged: the app's other keys still work."""
        secrets = [Key("HS256", secret.encode()) for secret in app.device_secrets if secret]
        public = [key for key in (_public(app.name, key) for key in app.public_keys) if key is not None]
        return cls(app.name, app.disabled, (*secrets, *public), app.sessions)

    def verify(self, token: str, device: str, *, now_s: float) -> Grant | None:
        """None if it isn't a token of this app for this device at `now_s`."""
        claims = self._claims(token)
        if claims is None or claims.get("iss") != self.name or claims.get("sub") != device:
            return None
        expires_s = _lifetime(claims, now_s)
        return None if expires_s is None else Grant(expires_s, patterns_of(claims.get("topics")) or ())

    def _claims(self, token: str) -> Mapping[str, Any] | None:
        for key in self._candidates(token):
            try:
                payload = _READERS[key.algorithm].decode(token, key.secret, algorithms=[key.algorithm])
                return _object(payload)
            except (PyJWTError, ValueError, RecursionError):  # RecursionError: JSON nested deeper than the stack
                continue
        return None

    def _candidates(self, token: str) -> Sequence[Key]:
        if len(self.keys) == 1 and self.keys[0].kid is None:
            return self.keys
        try:
            kid = _READERS["HS256"].get_unverified_header(token).get("kid")
        except (PyJWTError, ValueError, RecursionError):
            return ()
        return self.keys if kid is None else [key for key in self.keys if key.kid in (None, kid)]


def _lifetime(claims: Mapping[str, Any], now_s: float) -> int | None:
    exp, nbf = claims.get("exp"), claims.get("nbf")
    if not _is_time(exp) or not now_s - LEEWAY_S < exp <= now_s + LONGEST_S + LEEWAY_S:
        return None
    if nbf is not None and (not _is_time(nbf) or nbf > now_s + LEEWAY_S):
        return None
    return int(exp)


def _is_time(value: Any) -> TypeGuard[float]:
    """RFC 7519 §2, NumericDate."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _reader(name: str, algorithm: Algorithm) -> PyJWS:
    """A PyJWS that knows this algorithm and no other."""
    reader = PyJWS(algorithms=[])
    reader.register_algorithm(name, algorithm)
    return reader


_ALGORITHMS: dict[str, Algorithm] = {
    "HS256": _Hmac(HMACAlgorithm.SHA256),
    "ES256": get_default_algorithms()["ES256"],  # knows its curve
    "EdDSA": get_default_algorithms()["EdDSA"],
}
_READERS = {name: _reader(name, algorithm) for name, algorithm in _ALGORITHMS.items()}
_object = msgspec.json.Decoder(dict[str, Any]).decode


def _public(app: str, key: PublicKey) -> Key | None:
    try:
        if key.algorithm not in ("ES256", "EdDSA"):
            raise ValueError("the algorithm is not ES256 or EdDSA")
        return Key(key.algorithm, _ALGORITHMS[key.algorithm].prepare_key(key.pem), key.kid)
    except (PyJWTError, ValueError, TypeError) as error:
        log.warning("a public key can't be used", app=app, kid=key.kid, error=str(error))
        return None
