"""What an AMQP DSN may say."""

import ssl

import pytest

from push_core.dsn import Dsn
from push_core.errors import ConfigError
from push_core.queues.amqp_settings import SCHEMES, AmqpSettings


def read(text: str) -> AmqpSettings:
    return AmqpSettings.read(Dsn.parse(text, "[stores] queues", SCHEMES))


def test_everything_has_a_default_but_the_host() -> None:
    settings = read("amqp://rabbit")
    assert settings.hosts == (("rabbit", 5672),)
    assert (settings.user, settings.password, settings.vhost) == ("guest", "guest", "/")
    assert (settings.prefix, settings.queue_type, settings.timeout_s) == ("taco.", "classic", 4.0)
    assert settings.tls is None


def test_everything_can_be_said() -> None:
    settings = read(
        "amqp://taco:p%40ss%2F@r1:5673,r2,[::1]:5674/pu%2Fsh?prefix=x-&queue_type=quorum&length=5&queue_bytes=6&parked=7"
        "&prefetch=8&timeout_ms=1500&heartbeat_s=9"
    )
    assert settings.hosts == (("r1", 5673), ("r2", 5672), ("::1", 5674))
    assert (settings.user, settings.password, settings.vhost) == ("taco", "p@ss/", "pu/sh")
    assert (settings.length, settings.queue_bytes, settings.parked, settings.prefetch) == (5, 6, 7, 8)
    assert (settings.timeout_s, settings.heartbeat_s) == (1.5, 9)
    assert settings.name("q") == "x-q"
    assert settings.url("::1", 5674, "taco take") == (
        "amqp://taco:p%40ss%2F@[::1]:5674/pu%2Fsh?heartbeat=9&name=taco%20take"
    )


def test_no_password_is_shown() -> None:
    settings = read("amqp://taco:hunter2@r1,r2/push")
    assert settings.place == "amqp://r1:5672,r2:5672/push"
    assert "hunter2" not in repr(settings)


def test_queues_refuse_what_is_new_and_parking_drops_what_is_old() -> None:
    settings = read("amqp://r?length=5&parked=7")
    assert settings.arguments("q") == {
        "x-queue-type": "classic",
        "x-max-length": 5,
        "x-max-length-bytes": 268_435_456,
        "x-overflow": "reject-publish",
    }
    assert settings.arguments("q.parked") == settings.arguments("q") | {"x-max-length": 7, "x-overflow": "drop-head"}


def test_tls_uses_the_certificates_of_the_system() -> None:
    settings = read("amqps://r")
    assert settings.hosts == (("r", 5671),)
    assert settings.tls is not None
    assert settings.tls.verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("amqp://", "must look like amqp://HOST:PORT"),
        ("amqp://r?queue_type=stream", "option queue_type must be one of classic, quorum, got 'stream'"),
        ("amqp://r?prefix=" + "x" * 65, "option prefix must be at most 64 ASCII characters"),
        ("amqp://r?lenght=5", "lenght is not an option of amqp://; did you mean length?"),
        ("amqp://r?length=0", "option length must be a whole number of at least 1"),
        ("amqp://r?cafile=/x", "option cafile is for amqps://"),
        ("amqps://r?keyfile=/x", "option keyfile needs certfile"),
        ("amqps://r?cafile=/not/there", "the TLS certificates can't be read"),
    ],
)
def test_what_can_t_be_meant_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert str(caught.value).startswith("[stores] queues")
    assert reason in str(caught.value)


def test_a_name_longer_than_the_broker_takes_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 248 bytes"):
        read("amqp://r").name("x" * 250)
