from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from push_core.ids import SHARDS, make_id
from push_core.shards import ShardMap, shard_for_key

zone_names = st.sampled_from(["default", "east", "west", "北"])


@given(st.lists(st.one_of(st.just(""), zone_names), min_size=SHARDS, max_size=SHARDS), st.integers(0, 1_000))
def test_any_map_survives_its_way_through_control(owner: list[str], version: int) -> None:
    shard_map = ShardMap(version, tuple(owner))
    assert ShardMap.from_value(version, shard_map.to_value()) == shard_map


@given(st.lists(st.one_of(st.just(""), zone_names), min_size=SHARDS, max_size=SHARDS))
def test_every_shard_is_found_in_the_zone_that_owns_it(owner: list[str]) -> None:
    shard_map = ShardMap(1, tuple(owner))
    for shard in range(SHARDS):
        zone = shard_map.zone_of(shard)
        assert zone == (owner[shard] or None)
        assert zone is None or shard in shard_map.shards_of(zone)


def test_one_zone_owns_everything_at_first() -> None:
    shard_map = ShardMap.single()
    assert shard_map.shards_of("default") == tuple(range(SHARDS))
    assert shard_map.shards_of("elsewhere") == ()
    assert shard_map.to_value() == {"zones": {"default": [[0, 255]]}}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({}, "shards.zones must be an object"),
        ({"zones": [[0, 255]]}, "shards.zones must be an object"),
        ({"zones": {"": [[0, 1]]}}, "'' is no name"),
        ({"zones": {"east": "0-255"}}, "shards.zones.east must be a list"),
        ({"zones": {"east": 5}}, "shards.zones.east must be a list"),
        ({"zones": {"east": [5]}}, "shards.zones.east: 5 is not"),
        ({"zones": {"east": ["ab"]}}, "shards.zones.east: 'ab' is not"),
        ({"zones": {"east": [[0, 1, 2]]}}, r"shards.zones.east: \[0, 1, 2\] is not"),
        ({"zones": {"east": [[3, 2]]}}, r"shards.zones.east: \[3, 2\] is not"),
        ({"zones": {"east": [[-1, 2]]}}, r"shards.zones.east: \[-1, 2\] is not"),
        ({"zones": {"east": [[0, 256]]}}, r"shards.zones.east: \[0, 256\] is not"),
        ({"zones": {"east": [[0.0, 1]]}}, r"shards.zones.east: \[0.0, 1\] is not"),
        ({"zones": {"east": [[False, True]]}}, r"shards.zones.east: \[False, True\] is not"),
        ({"zones": {"east": [[0, 10]], "west": [[10, 20]]}}, "shards.zones.west: shard 10 belongs to east already"),
    ],
    ids=str,
)
def test_a_bad_map_is_refused_and_says_where(value: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ShardMap.from_value(1, value)


HOUR = 3_600_000
NOW = 1_790_000_000_000


def split(at: int) -> list[str]:
    return ["east" if shard < at else "west" for shard in range(SHARDS)]


def test_an_id_belongs_to_the_zone_that_had_its_shard_when_it_was_made() -> None:
    first = ShardMap.single("east")
    second = first.changed_to(split(100), at=NOW, forget_before=0)
    third = second.changed_to(split(200), at=NOW + HOUR, forget_before=0)
    made = {
        moment: [third.home_of(make_id(moment, shard, 0, 0)) for shard in (50, 150, 250)]
        for moment in (NOW - 1, NOW, NOW + HOUR - 1, NOW + HOUR)
    }
    assert made == {
        NOW - 1: ["east", "east", "east"],
        NOW: ["east", "west", "west"],
        NOW + HOUR - 1: ["east", "west", "west"],
        NOW + HOUR: ["east", "east", "west"],
    }


def test_a_map_with_moves_survives_its_way_through_control() -> None:
    moved = ShardMap.single("east").changed_to(split(100), at=NOW, forget_before=0)
    assert ShardMap.from_value(0, moved.to_value()) == moved


def test_a_shard_that_moves_is_open_to_nobody_until_then() -> None:
    moved = ShardMap.single("east").changed_to(split(100), at=NOW, forget_before=0)
    assert moved.open_to("west", NOW - 1) == ()
    assert moved.open_to("east", NOW - 1) == tuple(range(100))
    assert moved.open_to("west", NOW) == tuple(range(100, SHARDS))
    assert (moved.settled_at(), ShardMap.single().settled_at()) == (NOW, 0)


def test_moves_that_no_living_id_remembers_are_forgotten() -> None:
    moved = ShardMap.single("east").changed_to(split(100), at=NOW, forget_before=0)
    again = moved.changed_to(split(200), at=NOW + 10 * HOUR, forget_before=NOW + HOUR)
    assert [move.until for move in again.moves] == [NOW + 10 * HOUR]
    assert moved.changed_to(moved.owner, at=NOW + HOUR, forget_before=0) == moved


def test_shards_that_had_no_owner_come_without_a_past() -> None:
    assert ShardMap(0, ("",) * SHARDS).changed_to(split(9), at=NOW, forget_before=0).moves == ()


def test_only_a_zone_that_always_had_all_shards_is_alone() -> None:
    assert ShardMap.single("east").sole_zone == "east"
    assert ShardMap(1, tuple(split(9))).sole_zone == ""
    assert ShardMap.single("east").changed_to(split(0), at=NOW, forget_before=0).sole_zone == ""


@pytest.mark.parametrize(
    ("moves", "message"),
    [
        ({}, "shards.moves must be a list"),
        (["later"], r"shards.moves\[0\] must be an object of until"),
        ([{"until": "now", "zones": {}}], r"shards.moves\[0\] must be an object of until"),
        ([{"until": 1, "zones": {"east": [[0, 256]]}}], r"shards.moves\[0\].zones.east: \[0, 256\] is not"),
    ],
    ids=str,
)
def test_a_bad_move_is_refused_and_says_where(moves: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ShardMap.from_value(1, {"zones": {"east": [[0, 255]]}, "moves": moves})


def test_shards_that_nobody_owns_belong_to_nobody() -> None:
    shard_map = ShardMap.from_value(3, {"zones": {"east": [[0, 9]], "west": [[20, 20]]}})
    assert [shard_map.zone_of(shard) for shard in (0, 9, 10, 20, 21)] == ["east", "east", None, "west", None]
    assert shard_map.shards_of("west") == (20,)


@given(st.text(), st.text(), st.lists(st.integers(0, 255), min_size=1, max_size=SHARDS))
def test_a_repeat_with_the_same_key_meets_its_first(app: str, key: str, shards: list[int]) -> None:
    shard = shard_for_key(app, key, shards)
    assert shard in shards
    assert shard_for_key(app, key, tuple(shards)) == shard


def test_keys_spread_over_the_shards() -> None:
    shards = range(SHARDS)
    assert len({shard_for_key("courier", f"order-{n}", shards) for n in range(5_000)}) == SHARDS


def test_equal_keys_of_two_apps_are_two_keys() -> None:
    shards = range(SHARDS)
    assert any(shard_for_key("courier", f"{n}", shards) != shard_for_key("shop", f"{n}", shards) for n in range(10))
