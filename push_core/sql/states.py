"""How a delivery's state is kept: one small number that carries the rank in its tens, so that the two can't disagree.

Numbers are stored and therefore never reused or changed. Knows nothing of tables or SQL.
"""

from push_core.lifecycle import State, may_move

CODE: dict[State, int] = {
    State.ACCEPTED: 0,
    State.SENDING: 1,
    State.WAITING: 2,
    State.VENDOR: 3,
    State.DELIVERED: 10,
    State.DISPLAYED: 20,
    State.CLICKED: 30,
    State.EXPIRED: 90,
    State.RECALLED: 91,
    State.UNDELIVERABLE: 92,
}
STATE: dict[int, State] = {code: state for state, code in CODE.items()}
OPEN_BELOW = 10  # every state of rank 0, and only those, has a code below

ORIGINS: dict[State, tuple[int, ...]] = {
    to: tuple(code for state, code in CODE.items() if may_move(state, to)) for to in State
}
"""The codes from which each state may be entered: the guard of every UPDATE, taken from the one table of moves."""

AT: dict[State, str] = {
    State.ACCEPTED: "at_accepted",
    State.SENDING: "at_sending",
    State.WAITING: "at_waiting",
    State.VENDOR: "at_vendor",
    State.DELIVERED: "at_delivered",
    State.DISPLAYED: "at_displayed",
    State.CLICKED: "at_clicked",
    State.EXPIRED: "at_ended",  # an end is left never, so all ends share a column
    State.RECALLED: "at_ended",
    State.UNDELIVERABLE: "at_ended",
}
"""The column that says when a state was entered."""
