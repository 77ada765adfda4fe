"""Whether a token was made by the app for the device: forged, expired, borrowed and odd ones look all alike."""

import base64
import json
from typing import Any

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from push_core.models import App, PublicKey
from push_gateway.tokens import AppKeys

NOW = 1_790_000_000
SECRET = "a secret of sixty-four bytes, so that no algorithm calls it short "
OTHER = "another secret of sixty-four bytes, so that nothing calls it short"
EC, ED = ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()
DAY = 86_400


def pem(key: Any) -> str:
    text: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return text.decode()


def app(*, secrets: tuple[str, ...] = (SECRET,), keys: tuple[PublicKey, ...] = ()) -> AppKeys:
    return AppKeys.of(App(name="courier", device_secrets=secrets, public_keys=keys))


def make(key: Any = SECRET, algorithm: str = "HS256", headers: dict[str, Any] | None = None, **changed: Any) -> str:
    claims = {"iss": "courier", "sub": "d-1", "exp": NOW + 3_600} | changed
    kept = {name: value for name, value in claims.items() if value is not ...}
    return jwt.PyJWS().encode(json.dumps(kept).encode(), key, algorithm=algorithm, headers=headers)


def verify(token: str, keys: AppKeys | None = None, device: str = "d-1") -> int | None:
    grant = (keys or app()).verify(token, device, now_s=NOW)
    return None if grant is None else grant.expires_s


def test_a_good_token_tells_when_it_runs_out() -> None:
    assert verify(make()) == NOW + 3_600


@pytest.mark.parametrize("secret", [SECRET, OTHER])
def test_during_a_rotation_both_secrets_are_good(secret: str) -> None:
    assert verify(make(secret), app(secrets=(SECRET, OTHER))) == NOW + 3_600


def test_a_short_secret_is_the_apps_affair_and_raises_no_warning() -> None:
    payload = msgspec.json.encode({"iss": "courier", "sub": "d-1", "exp": NOW + 60})
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        token = jwt.PyJWS().encode(payload, "short", algorithm="HS256")
    assert verify(token, app(secrets=("short",))) == NOW + 60


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(make(OTHER), id="another secret"),
        pytest.param(make(iss="taxi"), id="another app"),
        pytest.param(make(iss=...), id="no issuer"),
        pytest.param(make(sub="d-2"), id="another device"),
        pytest.param(make(sub=...), id="no subject"),
        pytest.param(make(sub=1), id="a subject that is no text"),
        pytest.param(make(exp=...), id="no expiry"),
        pytest.param(make(exp=NOW - 60), id="expired"),
        pytest.param(make(exp=NOW + 30 * DAY + 61), id="too far ahead"),
        pytest.param(make(exp="tomorrow"), id="an expiry in words"),
        pytest.param(make(exp=True), id="an expiry that is a truth"),
        pytest.param(make(exp=10**400), id="an expiry beyond all floats"),
        pytest.param(make(nbf=NOW + 61), id="not good yet"),
        pytest.param(make(nbf="now"), id="a beginning in words"),
        pytest.param(make(algorithm="HS512"), id="another algorithm"),
        pytest.param(make("", algorithm="none"), id="no signature"),
        pytest.param(make()[:-2] + "AA", id="a broken signature"),
        pytest.param("", id="nothing"),
        pytest.param("a.b.c", id="three letters"),
        pytest.param("é.é.é", id="not ASCII"),
    ],
)
def test_whatever_is_wrong_with_a_token_it_is_refused(token: str) -> None:
    assert verify(token) is None


@pytest.mark.parametrize("exp", [NOW - 59, NOW, NOW + 30 * DAY + 60, NOW + 0.5])
def test_the_expiry_has_a_minute_of_leeway_and_may_be_thirty_days_ahead(exp: float) -> None:
    assert verify(make(exp=exp)) == int(exp)


@pytest.mark.parametrize(
    "claims", [{"nbf": NOW + 60}, {"iat": NOW + 9_999}, {"aud": "x"}, {"topics": ["t"]}, {"jti": 3}]
)
def test_other_claims_are_no_obstacle(claims: dict[str, Any]) -> None:
    assert verify(make(**claims)) == NOW + 3_600


@pytest.mark.parametrize(("private", "algorithm"), [(EC, "ES256"), (ED, "EdDSA")])
def test_key_pairs_sign_too(private: Any, algorithm: str) -> None:
    keys = app(secrets=(), keys=(PublicKey(algorithm, pem(private), "k1"),))
    assert verify(make(private, algorithm), keys) == NOW + 3_600
    assert verify(make(private, algorithm, {"kid": "k1"}), keys) == NOW + 3_600
    assert verify(make(private, algorithm, {"kid": "k2"}), keys) is None


def test_a_kid_is_of_no_account_to_secrets() -> None:
    assert verify(make(headers={"kid": "anything"})) == NOW + 3_600


def test_a_public_key_is_never_taken_for_a_secret() -> None:
    """The classic confusion: HS256 with the public key's text as the secret."""
    keys = app(secrets=(), keys=(PublicKey("ES256", pem(EC)),))
    payload = base64.urlsafe_b64encode(msgspec.json.encode({"iss": "courier", "sub": "d-1", "exp": NOW + 60}))
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}')
    body = (head + b"." + payload).replace(b"=", b"")
    hmac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    signature = base64.urlsafe_b64encode(hmac.sign(body, pem(EC).encode())).replace(b"=", b"")
    assert verify((body + b"." + signature).decode(), keys) is None


def test_a_public_key_that_cannot_be_read_leaves_the_others_in_force() -> None:
    wrong = (PublicKey("ES256", "not PEM"), PublicKey("RS256", pem(EC)), PublicKey("ES256", pem(ED)))
    keys = app(keys=(*wrong, PublicKey("EdDSA", pem(ED))))
    assert verify(make(), keys) == NOW + 3_600
    assert verify(make(ED, "EdDSA"), keys) == NOW + 3_600
    assert verify(make(EC, "ES256"), keys) is None


def test_an_app_without_keys_lets_nobody_in() -> None:
    assert verify(make(), app(secrets=())) is None


def test_no_secret_shows_in_a_repr() -> None:
    assert SECRET not in repr(app())


@given(
    st.text(max_size=200)
    | st.binary(max_size=150).map(lambda data: base64.urlsafe_b64encode(data).decode() + ".e30.e30")
)
def test_no_text_ever_raises(token: str) -> None:
    assert verify(token) is None


@pytest.mark.parametrize(
    ("claim", "granted"),
    [
        pytest.param(..., (), id="none"),
        pytest.param([], (), id="an empty list"),
        pytest.param(["news", "city-*", "news"], ("news", "city-*"), id="a topic and a beginning"),
        pytest.param("news", (), id="a text"),
        pytest.param(["news", 7], (), id="a number among them"),
        pytest.param(["c*ty"], (), id="a star in the middle"),
        pytest.param([f"t-{number}" for number in range(65)], (), id="too many"),
    ],
)
def test_a_token_names_the_topics_of_its_device_and_one_that_makes_no_sense_of_it_is_good_all_the_same(
    claim: Any, granted: tuple[str, ...]
) -> None:
    grant = app().verify(make(topics=claim), "d-1", now_s=NOW)
    assert grant is not None
    assert grant.topics == granted
