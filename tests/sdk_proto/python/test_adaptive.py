"""Behind networks of any memory: the interval ends below it, little is lost on the way, and nobody pings more often than allowed."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdk_proto.python.adaptive import (
    ANSWERS,
    LOSSES,
    MARGIN_S,
    PROBE_AFTER,
    PROBE_AFTER_MOST,
    START_S,
    STEP_S,
    AdaptiveHeartbeat,
)
from sdk_proto.wire.frames import Heartbeat as Bounds
from sdk_proto.wire.heartbeat import HeartbeatPolicy
from sdk_proto.wire.server import Terms
from tests.sdk_proto.python.nat import Phone
from tests.sdk_proto.vectors import load, names

HOUR = 3_600.0
DAY = 24 * HOUR
FORGETTING = [65, 80, 100, 149, 151, 180, 209, 211, 240, 269, 271, 300, 333, 400, 471, 529, 569, 585, 599]


def learning_s(forgets_s: float) -> float:
    """Seconds until an interval is found: ANSWERS and the one on the way a step, and the losses."""
    steps = range(60, 600 + STEP_S, STEP_S)
    return sum((ANSWERS + 1 + LOSSES) * step for step in steps if step <= max(forgets_s + STEP_S, START_S))


def probes(pings: int) -> int:
    """How often a bound that holds may have been tried again: after 100 answers, 200, 400, … and 1,600 each."""
    count, patience = 0, PROBE_AFTER
    while pings > patience:
        pings -= patience
        patience = min(2 * patience, PROBE_AFTER_MOST)
        count += 1
    return count


@pytest.mark.parametrize("forgets_s", FORGETTING)
def test_the_interval_ends_below_what_the_network_remembers(forgets_s: float) -> None:
    phone = Phone(forgets_s)
    phone.live(learning_s(forgets_s))
    steps_down = -(-max(0, START_S - forgets_s) // STEP_S)
    # At most two connections for each step down, or one that was too long.
    assert len(phone.lost) <= max(1, LOSSES * steps_down)
    assert phone.interval_s < forgets_s
    assert phone.interval_s >= max(forgets_s - 2 * STEP_S - MARGIN_S, 60)
    learned = len(phone.lost)
    phone.live(7 * DAY)
    # Each time that the bound is tried again costs one connection, and it is tried ever more rarely.
    assert len(phone.lost) - learned <= probes(len(phone.pings))
    assert phone.closed == []
    assert all(later - sooner >= 60 - 1e-6 for sooner, later in pairwise(phone.pings))


def test_a_network_that_forgets_nothing_is_pinged_every_ten_minutes_and_loses_nothing() -> None:
    phone = Phone(1e9)
    phone.live(DAY)
    assert phone.interval_s == 600
    assert phone.lost == phone.closed == []


def test_a_network_that_forgets_sooner_than_the_server_allows_to_ping_is_pinged_as_often_as_that() -> None:
    phone = Phone(30)
    phone.live(DAY)
    assert phone.interval_s == 60
    assert all(later - sooner >= 60 for sooner, later in pairwise(phone.pings))


@pytest.mark.parametrize(("shortest", "longest"), [(30, 120), (60, 300), (240, 240), (300, 3_600)])
def test_the_servers_bounds_hold(shortest: int, longest: int) -> None:
    terms = Terms(heartbeat=HeartbeatPolicy(min_s=shortest, max_s=longest, default_s=longest))
    phone = Phone(1e9, terms=terms)
    phone.live(DAY)
    assert phone.interval_s == max(shortest, min(600, longest))
    assert phone.closed == []
    assert all(later - sooner >= shortest for sooner, later in pairwise(phone.pings))


@given(st.floats(40, 700), st.integers(0, 2**32), st.sampled_from([(60, 600), (30, 90), (100, 400)]))
def test_whatever_happens_on_the_way_no_ping_comes_too_soon_and_none_is_missed(
    forgets_s: float, seed: int, bounds: tuple[int, int]
) -> None:
    """Traffic in between and changes of foreground and background, in any order."""
    shortest, longest = bounds
    terms = Terms(heartbeat=HeartbeatPolicy(min_s=shortest, max_s=longest, default_s=longest))
    phone = Phone(forgets_s, terms=terms)
    for _ in range(60):
        seed = (seed * 1_103_515_245 + 12_345) & 0xFFFFFFFF
        phone.live((seed >> 8) % 900)
        match (seed >> 4) % 4:
            case 0:
                phone.push()
            case 1:
                phone.set_state("foreground")
            case 2:
                phone.set_state("background")
    assert shortest <= phone.interval_s <= longest
    assert all(later - sooner >= shortest - 1e-6 for sooner, later in pairwise(phone.pings))
    # Only a connection that the network had forgotten may look silent to the server.
    assert len(phone.closed) <= len(phone.lost) + 1
    assert not phone.closed or forgets_s < longest


def test_in_the_foreground_the_connection_is_looked_after_at_once_and_nothing_is_tried() -> None:
    phone = Phone(1e9)
    phone.live(DAY)
    pings = len(phone.pings)
    last = phone.pings[-1]
    phone.live(last + 400 - phone.now)
    phone.set_state("foreground")
    phone.live(1)
    assert len(phone.pings) == pings + 1  # its last ping is longer ago than a foreground waits
    phone.live(HOUR)
    assert {round(later - sooner) for sooner, later in pairwise(phone.pings[pings:])} == {START_S}
    phone.set_state("background")
    phone.live(HOUR)
    assert phone.pings[-1] - phone.pings[-2] == pytest.approx(600)
    assert phone.closed == []


def test_what_is_learned_lasts_over_restarts_and_on_another_network_it_begins_anew() -> None:
    phone = Phone(320)
    phone.live(6 * HOUR)
    settled = phone.interval_s
    kept = phone.adaptive.take_changed()
    again = Phone(320, adaptive=AdaptiveHeartbeat(kept), now=5.0)
    assert again.interval_s == settled
    again.live(HOUR)
    assert again.lost == []
    assert Phone(320, adaptive=AdaptiveHeartbeat(kept), network="cellular").interval_s == START_S


def test_an_operator_who_narrows_the_bounds_is_followed_at_the_next_ping_without_losing_anybody() -> None:
    phone = Phone(1e9)
    phone.live(DAY)
    phone.terms.heartbeat = HeartbeatPolicy(min_s=60, max_s=240, default_s=240)
    phone.live(HOUR)
    assert phone.pings[-1] - phone.pings[-2] == pytest.approx(240)
    phone.terms.heartbeat = HeartbeatPolicy(min_s=300, max_s=900, default_s=300)
    phone.live(2 * HOUR)
    assert phone.pings[-1] - phone.pings[-2] >= 300
    assert phone.lost == phone.closed == []


@pytest.mark.parametrize("vector", load("heartbeat"), ids=names)
def test_the_golden_table(vector: dict[str, Any]) -> None:
    adaptive, network, kept = AdaptiveHeartbeat(vector.get("stored")), "", None
    for step in vector["steps"]:
        network = step.get("network", network)
        match step["do"]:
            case "welcomed":
                bounds = step.get("bounds", {"min": 60, "max": 600})
                adaptive.welcomed(network, Bounds(**bounds), step["at_s"])
            case "answered":
                for _ in range(step.get("times", 1)):
                    adaptive.answered(network, step["quiet_s"])
            case "lost":
                adaptive.lost(network, step["quiet_s"], step["at_s"])
            case "restart":
                adaptive = AdaptiveHeartbeat(kept)
        kept = adaptive.take_changed() or kept
        assert adaptive.interval_s(network, foreground=False) == step["background_s"], step
        assert adaptive.interval_s(network, foreground=True) == step["foreground_s"], step
    assert (None if kept is None else json.loads(kept)) == vector["kept"]


@pytest.mark.parametrize("stored", ["", "null", "7", '"x"', "[7]", "[[]]", '[["wifi",1,2]]', '[["wifi",0,0,0,0,0,50,0]]', '[[7,210,0,0,0,0,50,0]]', '[["wifi",210,0,0,0,0,50,1]]', '[["wifi",1e9,0,0,0,0,50,0]]', '[["wifi",true,0,0,0,0,50,0]]'])  # fmt: skip
def test_what_cannot_be_read_is_learned_again(stored: str) -> None:
    adaptive = AdaptiveHeartbeat(stored)
    assert adaptive.interval_s("wifi", foreground=False) == START_S
