"""Secrets are random, kept hashed, and rotated without an outage."""

import hashlib

import msgspec
import pytest

from ops.apps import hash_of_key, new_app, opens, with_limit, with_new_device_secret, with_new_key, with_webhook


def test_a_new_app_opens_with_its_key_and_with_no_other() -> None:
    app, secrets = new_app("shop", now=5)
    assert opens(app, secrets.key)
    assert not opens(app, secrets.key + "x")
    assert not opens(app, secrets.key.replace("shop.", "other."))
    assert not opens(app, "shop.")
    assert app.created == 5


def test_the_store_gets_a_hash_and_never_the_key() -> None:
    app, secrets = new_app("shop", now=0)
    secret = secrets.key.removeprefix("shop.")
    assert app.key_hashes == (hashlib.sha256(secret.encode()).hexdigest(),)
    assert secret not in str(app.key_hashes)
    assert app.device_secrets == (secrets.device_secret,)


def test_secrets_are_random_and_stay_out_of_reprs() -> None:
    (first, a), (_, b) = new_app("shop", now=0), new_app("shop", now=0)
    assert a.key != b.key
    assert a.device_secret != b.device_secret
    assert len(a.key.partition(".")[2]) >= 43  # 256 bits in base64
    assert a.key not in repr(a)
    assert a.device_secret not in repr(first)


def test_rotation_keeps_the_key_before_and_drops_the_one_before_that() -> None:
    app, secrets = new_app("shop", now=0)
    app, second = with_new_key(app)
    assert opens(app, secrets.key)
    assert opens(app, second)
    app, third = with_new_key(app)
    assert not opens(app, secrets.key)
    assert opens(app, second)
    assert opens(app, third)


def test_device_secrets_rotate_the_same_way() -> None:
    app, secrets = new_app("shop", now=0)
    app, second = with_new_device_secret(app)
    assert app.device_secrets == (secrets.device_secret, second)
    app, third = with_new_device_secret(app)
    assert app.device_secrets == (second, third)


@pytest.mark.parametrize("name", ["", "a.b", "A", "a/b", "x" * 65, "ä", "a b"])
def test_a_name_that_no_key_could_carry_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not a name for an app"):
        new_app(name, now=0)


def test_a_key_is_hashed_from_behind_its_first_dot() -> None:
    assert hash_of_key("a.b.c") == hashlib.sha256(b"b.c").hexdigest()


def test_a_webhook_is_signed_unless_that_is_declined_and_its_secret_is_told_once() -> None:
    app, _ = new_app("shop", now=0)
    app, secret = with_webhook(app, "https://shop.example/push")
    assert app.channels == {"webhook": {"url": "https://shop.example/push", "secret": secret}}
    assert secret
    moved, told = with_webhook(app, "https://shop.example/other")
    assert told is None
    assert moved.channels["webhook"] == {"url": "https://shop.example/other", "secret": secret}
    renewed, other = with_webhook(app, "https://shop.example/push", renew=True)
    assert other
    assert other != secret
    assert renewed.channels["webhook"]["secret"] == other
    unsigned, none = with_webhook(app, "https://shop.example/push", sign=False)
    assert none is None
    assert unsigned.channels["webhook"] == {"url": "https://shop.example/push"}


def test_taking_a_webhook_away_leaves_other_channels() -> None:
    app, _ = new_app("shop", now=0)
    app = msgspec.structs.replace(app, channels={"other": {"x": 1}})
    app, _ = with_webhook(app, "http://shop.example")
    app, _ = with_webhook(app, None)
    assert app.channels == {"other": {"x": 1}}


@pytest.mark.parametrize("url", ["", "shop.example", "ftp://shop.example", "https://", "https:///x"])
def test_a_webhook_needs_an_http_url(url: str) -> None:
    app, _ = new_app("shop", now=0)
    with pytest.raises(ValueError, match="is not an http"):
        with_webhook(app, url)


def test_an_app_may_have_a_rate_of_its_own_and_lose_it_again() -> None:
    app, _ = new_app("shop", now=1)
    assert (app.rate, app.burst) == (None, None)
    limited = with_limit(app, 2.5, 100)
    assert (limited.rate, limited.burst) == (2.5, 100)
    assert with_limit(limited, 0.0).rate == 0.0
    assert with_limit(limited, None) == app


@pytest.mark.parametrize(
    ("rate", "burst"), [(-1.0, None), (float("nan"), None), (float("inf"), None), (1.0, 0), (None, 5)]
)
def test_a_rate_that_makes_no_sense_is_refused(rate: float | None, burst: int | None) -> None:
    app, _ = new_app("shop", now=1)
    with pytest.raises(ValueError, match=r"rate|burst"):
        with_limit(app, rate, burst)
