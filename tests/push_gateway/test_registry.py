from dataclasses import dataclass
from typing import Any

from push_core.models import DeviceKey
from push_gateway.registry import Registry

KEY: DeviceKey = ("app", "d-1")


@dataclass(eq=False)
class Stand:
    """What the registry knows of a connection."""

    epoch: int
    key: DeviceKey = KEY


def registry_of(*, signed: Any, joining: tuple[Any, ...] = ()) -> Any:
    registry = Registry()
    for connection in (signed, *joining):
        registry.join(connection)
    registry.sign(signed)
    return registry


def test_one_that_ends_while_joining_leaves_the_one_that_is_signed_in() -> None:
    signed, late = Stand(1), Stand(2)
    registry = registry_of(signed=signed, joining=(late,))
    registry.remove(late)
    assert list(registry.of(KEY)) == [signed]
    assert KEY not in registry.joining


def test_one_that_ends_after_another_signed_in_takes_nothing_with_it() -> None:
    old, new = Stand(1), Stand(2)
    registry = registry_of(signed=old, joining=(new,))
    registry.sign(new)
    registry.remove(old)
    assert list(registry.of(KEY)) == [new]


def test_signed_and_joining_ones_are_found_by_their_epoch() -> None:
    signed, joining = Stand(1), Stand(2)
    registry = registry_of(signed=signed, joining=(joining,))
    assert [registry.find(KEY, epoch) for epoch in (1, 2, 3)] == [signed, joining, None]
    assert registry.find(("other", "d-1"), 1) is None
