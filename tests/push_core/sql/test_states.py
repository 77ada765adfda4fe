"""The stored number of a state and its rank can't disagree, and no number that was stored changes its meaning."""

from push_core.lifecycle import OPEN, RANK, State, may_move
from push_core.sql.states import AT, CODE, OPEN_BELOW, ORIGINS, STATE


def test_the_tens_of_a_code_are_the_rank() -> None:
    assert {state: code // 10 for state, code in CODE.items()} == RANK
    assert {state for state, code in CODE.items() if code < OPEN_BELOW} == OPEN


def test_codes_are_as_they_were_first_stored() -> None:
    assert [(s.value, CODE[s]) for s in State] == [
        ("accepted", 0),
        ("sending", 1),
        ("waiting", 2),
        ("vendor", 3),
        ("delivered", 10),
        ("displayed", 20),
        ("clicked", 30),
        ("expired", 90),
        ("recalled", 91),
        ("undeliverable", 92),
    ]
    assert set(AT) == set(STATE.values()) == set(State)


def test_the_guards_are_the_table_of_moves() -> None:
    for to in State:
        for current in State:
            assert (CODE[current] in ORIGINS[to]) is may_move(current, to)
