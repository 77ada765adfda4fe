"""What an AMQP DSN says, read strictly:

    amqp://user:password@host1:port1,host2:port2/vhost?prefix=taco.&length=10000

Without a vhost it is `/`. `amqps://` is TLS, with certificates of the system or those of the option `cafile`.
"""

import ssl
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from push_core.dsn import Dsn
from push_core.errors import ConfigError
from push_core.queues.port import PARKED

SCHEMES = ("amqp", "amqps")
QUEUE_TYPES = ("classic", "quorum")
_PORTS = {"amqp": 5672, "amqps": 5671}
_NUMBERS = ("length", "queue_bytes", "parked", "prefetch", "timeout_ms", "heartbeat_s")
_TEXTS = ("prefix", "queue_type", "cafile", "certfile", "keyfile")
LONGEST_PREFIX = 64
_LONGEST_NAME = 255  # bytes of a queue's name, AMQP 0-9-1 shortstr


@dataclass(frozen=True, slots=True, kw_only=True)
class AmqpSettings:
    """`length` bodies and `queue_bytes` bytes wait in one queue at most; `parked` bodies are put aside for each queue. `prefetch`: most bodies
    of one queue that the broker sends a consumer ahead, whatever the source asks for. `timeout_s` is the deadline of every call."""

    scheme: str = "amqp"
    hosts: tuple[tuple[str, int], ...]
    user: str = "guest"
    password: str = "guest"  # noqa: S105 - RabbitMQ's own default, which it takes from loopback only
    vhost: str = "/"
    prefix: str = "taco."
    queue_type: str = "classic"
    length: int = 10_000
    queue_bytes: int = 256 * 1024 * 1024
    parked: int = 1_000
    prefetch: int = 64
    timeout_s: float = (
        4.0  # shorter than that of whoever publishes (5 s), who else would hear nothing of what was confirmed
    )
    heartbeat_s: int = 10
    tls: ssl.SSLContext | None = None

    def __repr__(self) -> str:  # no password
        return f"AmqpSettings({self.place})"

    @classmethod
    def read(cls, dsn: Dsn) -> "AmqpSettings":
        """Raises ConfigError."""
        given: dict[str, Any] = dict(dsn.numbers(*_NUMBERS, texts=_TEXTS))
        given |= {name: text for name, text in zip(("user", "password"), dsn.login(), strict=True) if text}
        given |= {name: dsn.options[name] for name in ("prefix", "queue_type") if name in dsn.options}
        if "timeout_ms" in given:
            given["timeout_s"] = given.pop("timeout_ms") / 1_000
        read = cls(
            scheme=dsn.scheme,
            hosts=tuple(dsn.hosts(_PORTS[dsn.scheme])),
            vhost=unquote(dsn.url.path.removeprefix("/")) or "/",
            tls=_tls(dsn),
            **given,
        )
        if read.queue_type not in QUEUE_TYPES:
            choices = ", ".join(QUEUE_TYPES)
            raise ConfigError(f"{dsn.where}: option queue_type must be one of {choices}, got {read.queue_type!r}")
        if not read.prefix.isascii() or len(read.prefix) > LONGEST_PREFIX:
            raise ConfigError(
                f"{dsn.where}: option prefix must be at most {LONGEST_PREFIX} ASCII characters, got {read.prefix!r}"
            )
        return read

    @property
    def place(self) -> str:
        """Where the broker is, for people; no password."""
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        return f"{self.scheme}://{hosts}/{'' if self.vhost == '/' else quote(self.vhost)}"

    def url(self, host: str, port: int, use: str) -> str:
        """What the driver is given for one of the hosts."""
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        login = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}"
        return f"{self.scheme}://{login}@{place}/{quote(self.vhost, safe='')}?heartbeat={self.heartbeat_s}&name={quote(use)}"

    def name(self, queue: str) -> str:
        """The broker's name of a queue. Raises ValueError for one that is too long."""
        name = self.prefix + queue
        if len(name.encode()) > _LONGEST_NAME - len(PARKED):
            raise ValueError(f"a queue's name is at most {_LONGEST_NAME - len(PARKED)} bytes long, with its prefix")
        return name

    def arguments(self, queue: str) -> dict[str, Any]:
        """How a queue is declared. RabbitMQ's default overflow would drop the oldest; a parking queue does, everything else refuses what is new
        (https://www.rabbitmq.com/docs/maxlength#overflow-behaviour)."""
        parking = queue.endswith(PARKED)
        arguments: dict[str, Any] = {
            "x-queue-type": self.queue_type,
            "x-max-length": self.parked if parking else self.length,
            "x-max-length-bytes": self.queue_bytes,
            "x-overflow": "drop-head" if parking else "reject-publish",
        }
        if self.queue_type == "quorum":
            # Newer brokers drop what came back twenty times. Who gives up here is the intake, which parks with a reason.
            arguments["x-delivery-limit"] = 1_000_000
        return arguments


def _tls(dsn: Dsn) -> ssl.SSLContext | None:
    given = {name: dsn.options[name] for name in ("cafile", "certfile", "keyfile") if name in dsn.options}
    if dsn.scheme != "amqps":
        if given:
            raise ConfigError(f"{dsn.where}: option {next(iter(given))} is for amqps://")
        return None
    if "keyfile" in given and "certfile" not in given:
        raise ConfigError(f"{dsn.where}: option keyfile needs certfile")
    try:
        context = ssl.create_default_context(cafile=given.get("cafile"))
        if "certfile" in given:
            context.load_cert_chain(given["certfile"], given.get("keyfile"))
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(f"{dsn.where}: the TLS certificates can't be read: {error}") from None
    return context
