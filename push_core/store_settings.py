"""Section [stores]: a DSN for each port, and how programs call one another."""

from dataclasses import dataclass, fields
from pathlib import Path

from push_core.breaker import BreakerTerms
from push_core.dsn import Dsn
from push_core.redis.place import OPTIONS as REDIS_OPTIONS
from push_core.settings import setting
from push_core.sql.schemes import OPTIONS as SQL_OPTIONS


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """Section [stores]: a DSN for each port. Options of an adapter follow a question mark: `memory://?length=20000`."""

    messages: str = setting(
        "sqlite:///data/messages.sqlite",
        "Messages, deliveries, inboxes and later work: sqlite:///PATH, "
        f"mysql://USER:PASSWORD@HOST[:PORT]/DATABASE ({SQL_OPTIONS}); or several, each with its shards: mysql://…/a?shards=0-127 "
        "mysql://…/b?shards=128-255.",
    )
    devices: str = setting(
        "sqlite:///data/devices.sqlite",
        "Apps, devices and control values: sqlite:///PATH, mysql://… as for messages.",
    )
    presence: str = setting(
        "memory://",
        "Routes of connected devices: memory:// (option size), redis://[[USER]:PASSWORD@]HOST[:PORT][/DB], "
        f"redis+sentinel://HOST,HOST/SERVICE[/DB] or redis+cluster://HOST,HOST, rediss… for TLS (options {REDIS_OPTIONS}, buckets).",
    )
    claims: str = setting(
        "memory://", "Claims before vendor calls: memory:// (option size), or Redis as for presence, without buckets."
    )
    limits: str = setting(
        "memory://",
        "Token buckets of apps and addresses: memory:// (option size), or Redis as for presence, without buckets.",
    )
    queues: str = setting(
        "memory://",
        "Batches on their way: memory:// (options length, queue_bytes, parked), amqp://USER:PASSWORD@HOST:PORT,HOST:PORT/VHOST "
        "(options prefix, queue_type classic or quorum, length, queue_bytes, parked, prefetch, timeout_ms, heartbeat_s), amqps:// "
        "(and cafile, certfile, keyfile).",
    )
    trail: str = setting("memory://", "Searchable history of deliveries: memory:// (option size).")
    metrics: str = setting(
        "null://",
        "Counters and timings: null://, memory:// (option size), prometheus:// (option size; read at the admin port's /metrics), "
        "statsd://HOST:PORT (options prefix, flush_ms, size, datagram for its most bytes, samples of a timing between flushes).",
    )
    rpc: str = setting(
        "grpc://127.0.0.1:0",
        "Calls between programs: grpc://HOST:PORT to listen on (options max_in_flight, max_message_bytes, max_peers, and "
        "advertise for the host that peers dial), inproc://.",
    )
    receipts: dict[str, tuple[str, ...]] = setting(
        {}, "Addresses of each zone's receipts services; those of the same process are known without."
    )
    breaker: bool = setting(
        True,
        "Whether calls to a server or peer that fails for the most part are refused at once; leases and probes always go.",
    )
    breaker_k: float = setting(1.5, "Then so many calls are let through for each that succeeds.", at_least=1.1)
    breaker_window_s: float = setting(10.0, "How far back that looks.", at_least=1.0)
    breaker_protection: int = setting(5, "So many calls of a window are never refused.", at_least=0)
    breaker_probe_s: float = setting(1.0, "One call passes each so many seconds, whatever the odds.", at_least=0.01)
    breaker_recover_s: float = setting(
        1.0, "When for so long all that ended has ended well, everything passes again.", at_least=0.01
    )
    cluster_key: str | None = setting(
        None,
        "Secret that programs show one another, the same for all of them; not needed with certificates.",
        secret=True,
    )
    rpc_cert: Path | None = setting(
        None,
        "Certificate of this program for calls between programs (PEM): both sides show one then. With rpc_key, rpc_ca.",
    )
    rpc_key: Path | None = setting(None, "Its private key (PEM, without a password).")
    rpc_ca: Path | None = setting(None, "Certificate of the authority that signed those of all programs (PEM).")
    rpc_cert_name: str | None = setting(
        None, "Name that certificates of peers carry when it is not the host that they are dialled by."
    )
    rpc_allowed_networks: tuple[str, ...] = setting(
        (),
        "Where addresses that presence names may be dialled: networks (10.0.0.0/8), host names, *.SUFFIX, * for names without a dot. Empty: "
        "anywhere with certificates; else loopback, and for a listener that is not on loopback private networks and the names beside its own.",
    )

    def __repr__(self) -> str:  # a DSN may carry a password
        shown = ", ".join(
            f"{field.name}={Dsn.hide_password(str(getattr(self, field.name)))!r}"
            for field in fields(self)
            if not field.metadata["secret"]
        )
        return f"StoreSettings({shown})"


def breaker_terms(settings: StoreSettings) -> BreakerTerms | None:
    if not settings.breaker:
        return None
    return BreakerTerms(
        k=settings.breaker_k,
        window_s=settings.breaker_window_s,
        protection=settings.breaker_protection,
        probe_s=settings.breaker_probe_s,
        recover_s=settings.breaker_recover_s,
    )
