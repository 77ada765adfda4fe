"""The bounds of heartbeats while the gateway runs: those of control (key `heartbeat`), and what it doesn't name from the settings file.

A value looks like `{"min": 60, "max": 300, "default": 240, "grace": 1.5, "burst": 5}`, each of them optional. New sessions get the new
bounds with their welcome; one that lives takes them over with its next ping (`sdk_proto.wire.server`).
"""

from collections.abc import Mapping
from typing import Any

import structlog

from push_core.control.port import Entry
from push_core.control.watch import ControlWatch
from sdk_proto.wire.heartbeat import HeartbeatPolicy
from sdk_proto.wire.server import Terms

log = structlog.get_logger(__name__)

CONTROL_KEY = "heartbeat"
NAMES = {"min": "min_s", "max": "max_s", "default": "default_s", "grace": "grace", "burst": "burst"}
LONGEST_S = 86_400  # a session that is silent for longer is a mistake, whoever wishes it
MOST = {"grace": 10, "burst": 1_000}


class Heartbeats:
    """Keeps `terms.heartbeat` at what control says; a value that makes no sense is refused, and the one before holds."""

    def __init__(self, control: ControlWatch, terms: Terms) -> None:
        self._terms = terms
        self._usual = terms.heartbeat
        control.subscribe(CONTROL_KEY, self._told)

    def _told(self, entry: Entry) -> None:
        try:
            policy = policy_from_value({} if entry.value is None else entry.value, self._usual)
        except ValueError as error:
            log.warning(
                "bounds of heartbeats refused; those before hold",
                key=CONTROL_KEY,
                version=entry.version,
                error=str(error),
            )
            return
        if policy != self._terms.heartbeat:
            self._terms.heartbeat = policy
            log.info("bounds of heartbeats changed", version=entry.version, **value_of(policy))


def policy_from_value(value: Any, usual: HeartbeatPolicy) -> HeartbeatPolicy:
    """Read the value of control over `usual`. A default that isn't named is brought within the bounds that are; names that are not known
    are a later version's and passed over. Raises ValueError naming what is wrong.

    >>> policy_from_value({"max": 180}, HeartbeatPolicy()).default_s
    180
    """
    if not isinstance(value, Mapping):
        raise ValueError("heartbeat must be an object of min, max, default (seconds), grace and burst")
    read: dict[str, Any] = {name: getattr(usual, field) for name, field in NAMES.items()}
    for name in NAMES:
        if value.get(name) is not None:
            read[name] = _number(name, value[name])
    if value.get("default") is None:
        read["default"] = min(max(read["default"], read["min"]), read["max"])
    return HeartbeatPolicy(**{NAMES[name]: number for name, number in read.items()})


def value_of(policy: HeartbeatPolicy) -> dict[str, int | float]:
    """As control would name all of it."""
    return {name: getattr(policy, field) for name, field in NAMES.items()}


def _number(name: str, value: Any) -> int | float:
    most = MOST.get(name, LONGEST_S)
    whole = name != "grace"
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or not 1 <= value <= most:
        raise ValueError(f"heartbeat.{name}: {value!r} is not a {'whole ' if whole else ''}number from 1 to {most}")
    return value
