"""Which vendor could reach a device."""

import pytest

from dispatcher.vendor_routes import Reach, reach_of
from push_core.devices.port import DeadToken
from push_core.models import Device
from tests.dispatcher.world import APP, World


@pytest.mark.parametrize(
    ("tokens", "routes"),
    [
        ({}, ()),
        ({"stub": "s"}, (("stub", "s"),)),
        ({"stub": "s", "webhook": "w"}, (("webhook", "w"), ("stub", "s"))),
        ({"apns": "a", "stub": ""}, ()),
    ],
)
def test_the_operators_order_counts(tokens: dict[str, str], routes: tuple[tuple[str, str], ...]) -> None:
    device = Device(app=APP, device="d-1", vendor_tokens=tokens)
    assert reach_of(device, ("webhook", "stub")).routes == routes


def test_no_record_is_no_vendor() -> None:
    assert reach_of(None, ("stub",)).first() is None


def test_a_channel_that_was_tried_is_not_taken_again() -> None:
    reach = Reach((("webhook", "w"), ("stub", "s")))
    assert reach.first() == ("webhook", "w")
    assert reach.first(["webhook"]) == ("stub", "s")
    assert reach.first(["webhook", "stub"]) is None


def test_a_blocked_device_is_reached_by_nobody() -> None:
    assert Reach((("stub", "s"),), blocked=True).first() is None


def test_tokens_are_not_shown() -> None:
    assert "secret" not in repr(Reach((("stub", "secret"),)))


async def test_a_dropped_token_is_forgotten_at_once(world: World) -> None:
    await world.register("d-1", vendor_tokens={"stub": "s"})
    routes = world.parts.routes
    assert (await routes.of([(APP, "d-1")]))[0].first() == ("stub", "s")
    await routes.drop([DeadToken(APP, "d-1", "stub", "s")])
    assert (await routes.of([(APP, "d-1")]))[0].first() is None


async def test_another_apps_device_of_the_same_name_has_its_own_tokens(world: World) -> None:
    await world.register("d-1", vendor_tokens={"stub": "s"})
    assert (await world.parts.routes.of([("customer", "d-1")]))[0].first() is None
