"""The switch in control that empties nodes: the key `drain`, an object from a node's name to how it is emptied. Pure.

    {"gw-7": {"rate": 100, "over_s": 60}, "gw-8": {}}

A name stands for the node and, where it has workers, for all of them: `gw-7` for `gw-7.1`, `gw-7.2`, … It holds over restarts: a node
that starts while it is named is emptied at once. Fields: `rate`, `over_s`, `within_s`, `urls`; what is not given is as in the settings.
"""

from collections.abc import Mapping
from typing import Any

CONTROL_KEY = "drain"
WITHIN_S = 3_600.0  # a node that does not stop can take its time; who has not gone by then is sent away
_FIELDS = {"rate", "over_s", "within_s", "urls"}


def ordered(value: Any, node: str) -> dict[str, Any] | None:
    """How the node is to be emptied, as `Drain.terms` takes it; None: it isn't. Raises ValueError for what makes no sense.

    >>> ordered({"gw-7": {"rate": 100}}, "gw-7.2"), ordered({"gw-7": {}}, "gw-70")
    ({'within_s': 3600.0, 'rate': 100}, None)
    """
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise ValueError("it is not an object of nodes")
    parent, dot, number = node.rpartition(".")
    order = value.get(node)
    if order is None and dot and number.isdecimal():
        order = value.get(parent)
    if order is None:
        return None
    return {"within_s": WITHIN_S} | checked(order)


def checked(order: Any) -> dict[str, Any]:
    """Raises ValueError with a sentence."""
    if not isinstance(order, Mapping):
        raise ValueError("an order is not an object")
    if unknown := sorted(set(order) - _FIELDS):
        raise ValueError(f"{unknown[0]} is not a field of an order; those are {', '.join(sorted(_FIELDS))}")
    found: dict[str, Any] = {}
    for name, least in (("rate", 1), ("over_s", 0), ("within_s", 0)):
        number = order.get(name)
        if number is None:
            continue
        if isinstance(number, bool) or not isinstance(number, int | float) or not least <= number < 1e9:
            raise ValueError(f"{name} must be a number from {least}, got {number!r}")
        found[name] = int(number) if name == "rate" else float(number)
    urls = order.get("urls")
    if urls is not None:
        if not isinstance(urls, list | tuple) or not all(
            isinstance(url, str) and url.startswith(("ws://", "wss://")) for url in urls
        ):
            raise ValueError(f"urls must be a list of ws:// and wss:// addresses, got {urls!r}")
        found["urls"] = tuple(urls)
    return found
