import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from push_core import lifecycle
from push_core.lifecycle import END_RANK, ENDS, OPEN, RANK, Reason, State, may_move, most_advanced

states = st.sampled_from(State)


@given(st.lists(states, max_size=40))
def test_in_any_order_of_events_a_rank_never_falls_and_an_end_is_never_left(wishes: list[State]) -> None:
    current = State.ACCEPTED
    for wish in wishes:
        before = current
        if may_move(current, wish):
            current = wish
        assert RANK[current] >= RANK[before]
        if before in ENDS:
            assert current is before


@given(st.permutations(list(State)))
def test_every_delivery_can_end_from_wherever_it_is_open(order: list[State]) -> None:
    for state in order:
        ends = [end for end in ENDS if may_move(state, end)]
        assert bool(ends) == (state in OPEN)


# docs/states.md: the column "moves to".
MOVES: dict[State, set[State]] = {
    **{state: set(State) - {state} for state in (State.ACCEPTED, State.SENDING, State.WAITING, State.VENDOR)},
    State.DELIVERED: {State.DISPLAYED, State.CLICKED},
    State.DISPLAYED: {State.CLICKED},
    State.CLICKED: set(),
    State.EXPIRED: set(),
    State.RECALLED: set(),
    State.UNDELIVERABLE: set(),
}


@pytest.mark.parametrize("current", list(State))
def test_each_state_moves_where_the_protocol_says_and_nowhere_else(current: State) -> None:
    assert {to for to in State if may_move(current, to)} == MOVES[current]


def test_every_state_has_a_rank_and_a_place_among_the_most_advanced() -> None:
    assert set(RANK) == set(State)
    assert {most_advanced([state]) for state in State} == set(State)
    assert {state for state, rank in RANK.items() if rank in (0, END_RANK)} == OPEN | ENDS


@pytest.mark.parametrize(
    ("of_deliveries", "of_message"),
    [
        ([State.EXPIRED, State.CLICKED, State.WAITING], State.CLICKED),
        ([State.DELIVERED, State.SENDING], State.DELIVERED),
        ([State.EXPIRED, State.ACCEPTED], State.ACCEPTED),
        ([State.RECALLED, State.UNDELIVERABLE, State.EXPIRED], State.RECALLED),
        ([State.UNDELIVERABLE, State.EXPIRED], State.EXPIRED),
        ([State.WAITING, State.VENDOR], State.VENDOR),
    ],
)
def test_a_message_is_where_its_most_advanced_delivery_is(of_deliveries: list[State], of_message: State) -> None:
    assert most_advanced(of_deliveries) is of_message


@given(st.lists(states, min_size=1))
def test_a_message_has_ended_only_when_all_its_deliveries_have(of_deliveries: list[State]) -> None:
    assert (most_advanced(of_deliveries) in ENDS) == all(state in ENDS for state in of_deliveries)


def test_states_and_reasons_are_words_that_callers_see() -> None:
    assert [str(state) for state in State][:3] == ["accepted", "sending", "waiting"]
    assert all(str(reason).replace("_", "").isalpha() for reason in Reason)


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(lifecycle).failed == 0
