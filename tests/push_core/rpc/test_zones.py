import pytest

from push_core.errors import DeadlineExceeded, Overloaded, Unavailable
from push_core.rpc.zones import ZoneCaller, Zones


class Services:
    """Answers each address with its error, or takes the call; each call takes `takes_s`."""

    def __init__(self, **errors: Exception) -> None:
        self.errors = errors
        self.asked: list[str] = []
        self.now = 0.0
        self.takes_s = 0.0
        self.left: list[float] = []

    async def one(self, address: str, left_s: float) -> None:
        self.asked.append(address)
        self.left.append(left_s)
        self.now += self.takes_s
        if address in self.errors:
            raise self.errors[address]

    def caller(self, zones: Zones) -> ZoneCaller:
        return ZoneCaller(zones, lambda: self.now)


ABC = Zones({"east": ("a", "b", "c")})


def test_those_of_this_process_come_first_and_none_twice() -> None:
    zones = Zones({"east": ("a", "b")})
    zones.register("east", "here")
    zones.register("east", "b")
    zones.register("east", "here")
    assert zones.addresses("east") == ["here", "b", "a"]
    zones.unregister("east", "here")
    zones.unregister("east", "never")
    zones.unregister("west", "here")
    assert zones.addresses("east") == ["b", "a"]
    assert zones.addresses("west") == []


async def test_addresses_take_turns() -> None:
    services = Services()
    caller = services.caller(ABC)
    for _ in range(6):
        await caller.call("east", 5, services.one)
    assert services.asked == ["a", "b", "c", "a", "b", "c"]


async def test_those_that_did_nothing_are_passed_by_within_the_same_deadline() -> None:
    services = Services(a=Unavailable("gone"), b=Overloaded("full"))
    services.takes_s = 1.0
    await services.caller(ABC).call("east", 5, services.one)
    assert services.asked == ["a", "b", "c"]
    assert services.left == [5.0, 4.0, 3.0]


async def test_when_none_takes_it_the_last_reason_is_told() -> None:
    services = Services(a=Unavailable("a gone"), b=Unavailable("b gone"), c=Unavailable("c gone"))
    with pytest.raises(Unavailable, match="c gone"):
        await services.caller(ABC).call("east", 5, services.one)


async def test_an_unknown_outcome_is_told_and_not_repeated_elsewhere() -> None:
    services = Services(a=DeadlineExceeded("silence"))
    with pytest.raises(DeadlineExceeded, match="silence"):
        await services.caller(ABC).call("east", 5, services.one)
    assert services.asked == ["a"]


async def test_no_address_is_tried_when_the_time_is_over() -> None:
    services = Services(a=Unavailable("slow to say no"))
    services.takes_s = 6.0
    with pytest.raises(Unavailable, match="slow to say no"):
        await services.caller(ABC).call("east", 5, services.one)
    assert services.asked == ["a"]
    with pytest.raises(Unavailable, match="no time left"):
        await services.caller(ABC).call("east", 0, services.one)


async def test_one_that_did_not_answer_comes_last_for_a_while() -> None:
    services = Services(a=DeadlineExceeded("silence"))
    caller = services.caller(ABC)
    with pytest.raises(DeadlineExceeded):
        await caller.call("east", 5, services.one)
    services.asked.clear()
    for _ in range(6):
        await caller.call("east", 5, services.one)
    assert "a" not in services.asked
    services.now += 10
    services.errors.clear()
    for _ in range(3):
        await caller.call("east", 5, services.one)
    assert "a" in services.asked


async def test_the_only_one_is_asked_however_silent_it_was() -> None:
    services = Services(a=DeadlineExceeded("silence"))
    caller = services.caller(Zones({"east": ("a",)}))
    for _ in range(2):
        with pytest.raises(DeadlineExceeded):
            await caller.call("east", 5, services.one)
    assert services.asked == ["a", "a"]


async def test_the_answer_comes_back() -> None:
    async def one(address: str, left_s: float) -> str:
        return address

    assert await ZoneCaller(ABC, lambda: 0.0).call("east", 5, one) == "a"


def test_what_is_found_and_told_is_known_beside_what_settings_name() -> None:
    zones = Zones({"east": ("a",), "west": ("x",)})
    zones.find("east", ["b", "a"])
    zones.tell({"west": ("y",), "north": ("n",)})
    assert (zones.addresses("east"), zones.addresses("west"), zones.addresses("north")) == (
        ["b", "a"],
        ["y", "x"],
        ["n"],
    )
    assert zones.known() == {"a", "b", "x", "y", "n"}
    zones.find("east", [])
    zones.tell({})
    assert (zones.addresses("east"), zones.addresses("west"), zones.addresses("north")) == (["a"], ["x"], [])
