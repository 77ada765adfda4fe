"""The vendor channels by name: the only list of them."""

from collections.abc import Callable, Mapping, Sequence

from dispatcher.fallback.guard import Guard
from dispatcher.fallback.port import Channel
from dispatcher.fallback.stub import StubChannel
from dispatcher.fallback.webhook import WebhookChannel
from dispatcher.settings import DispatcherSettings
from push_core.clock import Clock
from push_core.devices.port import Devices
from push_core.errors import ConfigError

Make = Callable[[DispatcherSettings, Devices, Clock], Channel]


def _stub(settings: DispatcherSettings, devices: Devices, clock: Clock) -> Channel:
    del devices
    return StubChannel(clock.wall_ms, kept=settings.stub_kept, log=settings.stub_log)


def _webhook(settings: DispatcherSettings, devices: Devices, clock: Clock) -> Channel:
    try:
        guard = Guard(allowed=settings.webhook_allowed_networks, ports=settings.webhook_ports)
    except ValueError as error:
        raise ConfigError(f"[dispatcher] webhook_allowed_networks or webhook_ports: {error}") from None
    return WebhookChannel(
        devices,
        guard,
        clock,
        timeout_s=settings.webhook_timeout_s,
        connections=settings.webhook_connections,
        calls_per_app=settings.webhook_calls_per_app,
        response_bytes=settings.webhook_response_bytes,
    )


CHANNELS: Mapping[str, Make] = {"webhook": _webhook, "stub": _stub}


def check_names(names: Sequence[str]) -> None:
    """Raises ConfigError for a channel that does not exist."""
    for name in names:
        if name not in CHANNELS:
            raise ConfigError(
                f"[dispatcher] vendor_channels: {name!r} is not a channel; there are {', '.join(sorted(CHANNELS))}"
            )


def open_channels(settings: DispatcherSettings, devices: Devices, clock: Clock) -> list[Channel]:
    """In the operator's order. Raises ConfigError."""
    check_names(settings.vendor_channels)
    return [CHANNELS[name](settings, devices, clock) for name in settings.vendor_channels]
