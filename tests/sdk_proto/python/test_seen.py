from hypothesis import given
from hypothesis import strategies as st

from sdk_proto.python.seen import CAPACITY, SLACK, Seen


@given(
    st.lists(
        st.tuples(
            st.integers(1, 1_500),  # how many ids are learned at once
            st.integers(0, 50),  # and when they expire
            st.booleans(),  # whether the process is started again afterwards
        ),
        max_size=12,
    )
)
def test_the_newest_2048_that_have_not_expired_are_always_known(batches: list[tuple[int, int, bool]]) -> None:
    seen = Seen()
    stored: dict[int, int] = {}  # as a store keeps it
    history: list[tuple[int, int]] = []
    for now, (count, lifetime, restart) in enumerate(batches):
        for _ in range(count):
            message_id = len(history) + 1
            history.append((message_id, now + lifetime))
            seen.add(message_id, now + lifetime)
            stored[message_id] = now + lifetime
        for message_id in seen.forget(now):
            del stored[message_id]
        if restart:
            seen = Seen(stored.items())
        assert len(seen) < CAPACITY + SLACK + 1_500
        assert all(message_id in seen for message_id, expires in history[-CAPACITY:] if expires > now)


def test_what_has_expired_goes_first() -> None:
    seen = Seen([(number, 100) for number in range(1, CAPACITY + 1)])
    for number in range(CAPACITY + 1, CAPACITY + SLACK + 1):
        seen.add(number, 5)
    assert sorted(seen.forget(50)) == list(range(CAPACITY + 1, CAPACITY + SLACK + 1))
    assert 1 in seen


def test_a_known_id_keeps_its_place_and_expiry() -> None:
    seen = Seen([(1, 100)])
    seen.add(1, 5)
    for number in range(2, CAPACITY + SLACK + 1):
        seen.add(number, 200)
    gone = seen.forget(50)
    assert gone == list(range(1, SLACK + 1))
