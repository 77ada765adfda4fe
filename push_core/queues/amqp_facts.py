"""What a broker says of itself (`push_core.facts`)."""

from typing import Any

from push_core.dsn import Dsn
from push_core.facts import Facts
from push_core.queues.amqp_link import Link
from push_core.queues.amqp_settings import SCHEMES, AmqpSettings


async def amqp_facts(dsn: str) -> Facts:
    """Raises ConfigError for a bad DSN, Unavailable when no host can be reached or the user is refused."""
    settings = AmqpSettings.read(Dsn.parse(dsn, "[stores] queues", SCHEMES))
    link = Link(settings, "doctor", None)
    try:
        wire = await link.wire(settings.timeout_s)
        said: Any = wire.connection.server_properties
        return Facts(settings.place, f"{_text(said.get('product', '?'))} {_text(said.get('version', '?'))}")
    finally:
        await link.close()


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
