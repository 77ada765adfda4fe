"""Whose connection it is and whether it may go on: at its accept, when a proxy has said whose it is, and when its request is there.

The address that comes out of it is what every limit and every rule goes by. Where nothing of this is configured nothing is looked up and
nothing kept.
"""

from collections.abc import Sequence

from push_core.errors import ConfigError
from push_core.limits.addresses import AddressCounts
from push_core.metrics.port import Metrics
from push_gateway.guard.addresses import Networks
from push_gateway.guard.forwarded import client_of
from push_gateway.guard.rule_book import Limits, RuleBook
from push_gateway.settings import GatewaySettings


class Door:
    """Raises ConfigError with a sentence for settings that make no sense together."""

    def __init__(self, settings: GatewaySettings, book: RuleBook, metrics: Metrics) -> None:
        try:
            self._trusted = Networks(settings.trusted_proxies)
        except ValueError as error:
            raise ConfigError(f"[gateway] trusted_proxies: {error}") from None
        if not self._trusted and (settings.proxy_protocol or settings.forwarded_for):
            key = "proxy_protocol" if settings.proxy_protocol else "forwarded_for"
            raise ConfigError(
                f"[gateway] {key}: name the proxies that are believed in trusted_proxies, such as 10.0.0.0/8; anybody else could say anything"
            )
        self._proxy_protocol = settings.proxy_protocol
        self._forwarded_for = settings.forwarded_for
        self._counts = AddressCounts(settings.address_connections, "address_connections", metrics)
        self._book = book
        self.looks = settings.address_connections > 0
        """Whether the address of a connection is wanted when it is accepted."""
        self.proxied = settings.proxy_protocol
        """Whether connections may begin with a PROXY header."""

    def __len__(self) -> int:
        """Addresses with a connection, where they are counted."""
        return len(self._counts)

    def is_announced(self, peer: str) -> bool:
        """Whether a connection of `peer` begins with a PROXY header: all of trusted proxies do, and nobody else's."""
        return self._proxy_protocol and peer in self._trusted

    def names_others(self, address: str) -> bool:
        """Whether a request of it says whose it really is."""
        return self._forwarded_for and address in self._trusted

    def come(self, address: str) -> bool:
        """One more connection of the address, to be followed by `gone` whatever the answer. False: it is one too many."""
        return self._counts.enter(address)

    def gone(self, address: str) -> None:
        self._counts.leave(address)

    @property
    def wants_requests(self) -> bool:
        """Whether `screen` has anything to say at all."""
        return self._forwarded_for or self._book.any

    def client(self, address: str, forwarded: Sequence[str]) -> str:
        """Whose request it is that came from `address`."""
        return client_of(address, forwarded, self._trusted) if self._forwarded_for else address

    def screen(self, address: str, user_agent: str) -> Limits | None:
        """By the rules: those that its sign-in has to pass, or None for a request that is refused."""
        return self._book.meet(address, user_agent)
