from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from push_core.errors import Unavailable
from push_core.ids import (
    EPOCH_MS,
    ISSUERS,
    MAX_ID,
    SEQUENCES,
    SHARDS,
    Issuer,
    NotIssuing,
    first_id_at,
    issuer_of,
    make_id,
    parse_id,
    sequence_of,
    shard_of,
    time_of,
)

NOW = 1_790_000_000_000
LAST_MS = EPOCH_MS + (1 << 41) - 1

times = st.integers(EPOCH_MS, LAST_MS)
shards = st.integers(0, SHARDS - 1)
issuers = st.integers(0, ISSUERS - 1)
sequences = st.integers(0, SEQUENCES - 1)


@given(times, shards, issuers, sequences)
def test_an_id_gives_its_parts_back_and_fits_63_bits(ms: int, shard: int, issuer: int, sequence: int) -> None:
    made = make_id(ms, shard, issuer, sequence)
    assert (time_of(made), shard_of(made), issuer_of(made), sequence_of(made)) == (ms, shard, issuer, sequence)
    assert 0 <= made <= MAX_ID


@given(st.tuples(times, shards, issuers, sequences), st.tuples(times, shards, issuers, sequences))
def test_ids_sort_by_time_first(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> None:
    assert (make_id(*one) < make_id(*other)) == (one < other)


@given(times, shards, issuers, sequences)
def test_the_range_of_a_millisecond_holds_all_its_ids_and_no_other(
    ms: int, shard: int, issuer: int, sequence: int
) -> None:
    assert first_id_at(ms) <= make_id(ms, shard, issuer, sequence) < first_id_at(ms + 1)


def test_before_the_epoch_every_id_is_later() -> None:
    assert first_id_at(0) == 0
    assert make_id(EPOCH_MS, 0, 0, 0) == 0


@pytest.mark.parametrize(
    "parts",
    [(EPOCH_MS - 1, 0, 0, 0), (LAST_MS + 1, 0, 0, 0), (NOW, SHARDS, 0, 0), (NOW, 0, ISSUERS, 0), (NOW, 0, 0, SEQUENCES),
     (NOW, -1, 0, 0), (NOW, 0, -1, 0), (NOW, 0, 0, -1)],
)  # fmt: skip
def test_a_part_that_does_not_fit_is_refused_rather_than_cut(parts: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="out of range"):
        make_id(*parts)


@given(st.integers(0, MAX_ID))
def test_an_id_survives_its_way_as_text(message_id: int) -> None:
    assert parse_id(str(message_id)) == message_id


@given(st.text(max_size=25))
def test_any_text_is_an_id_or_none(text: str) -> None:
    parsed = parse_id(text)
    assert parsed is None or 0 <= parsed <= MAX_ID


@pytest.mark.parametrize(
    "text", ["", " 7", "7 ", "+7", "-7", "7.0", "0x7", "1_000", "٧", "²", str(MAX_ID + 1), "9" * 5_000, "abc"]
)
def test_what_is_no_plain_decimal_of_63_bits_is_no_id(text: str) -> None:
    assert parse_id(text) is None


# ── the issuer ──────────────────────────────────────────────────────────────────────────────────────────────────────

moves = st.lists(
    st.tuples(st.integers(0, 3), st.one_of(st.just(0), st.integers(-3_000, 3_000), st.sampled_from([-1, 1, 2]))),
    max_size=300,
)


def run(issuer: Issuer, steps: Sequence[tuple[int, int]], start: int) -> list[int]:
    """Ask for an id of each shard after moving the clock by each step, whatever the issuer says to it."""
    made = []
    now = start
    for shard, step in steps:
        now += step
        try:
            message_id = issuer.try_make(shard, now)
        except NotIssuing:
            continue
        if message_id is not None:
            made.append(message_id)
    return made


@given(moves, st.integers(-5_000, 5_000))
def test_whatever_the_clock_does_ids_are_unique_rise_in_each_shard_and_stay_above_the_mark(
    steps: list[tuple[int, int]], mark: int
) -> None:
    issuer = Issuer(5, high_water_ms=NOW + mark)
    made = run(issuer, steps, NOW)
    assert len(set(made)) == len(made)
    for shard in range(4):
        of_shard = [message_id for message_id in made if shard_of(message_id) == shard]
        assert of_shard == sorted(of_shard)
    assert all(time_of(message_id) > NOW + mark for message_id in made)
    assert all(issuer_of(message_id) == 5 for message_id in made)
    assert issuer.newest_ms == max([NOW + mark, *map(time_of, made)])


@given(moves, moves)
def test_who_takes_an_issuer_over_from_its_mark_repeats_no_id(
    before: list[tuple[int, int]], after: list[tuple[int, int]]
) -> None:
    first = Issuer(5)
    made = run(first, before, NOW)
    second = Issuer(5, high_water_ms=first.newest_ms)
    assert not set(made) & set(run(second, after, NOW))


@given(moves)
def test_without_steps_back_all_ids_of_a_shard_carry_the_time_they_were_made_at(steps: list[tuple[int, int]]) -> None:
    issuer, now = Issuer(0), NOW
    for shard, step in steps:
        now += abs(step)
        made = issuer.try_make(shard, now)
        assert made is None or time_of(made) == now


def test_a_millisecond_holds_128_ids_of_each_shard_and_then_asks_to_wait() -> None:
    issuer = Issuer(0)
    made = [issuer.try_make(shard, NOW) for shard in (0, 1) for _ in range(SEQUENCES)]
    assert None not in made
    assert len(set(made)) == 2 * SEQUENCES
    assert issuer.try_make(0, NOW) is None
    assert issuer.try_make(0, NOW + 1) == make_id(NOW + 1, 0, 0, 0)


def test_a_small_step_back_is_waited_out_and_a_large_one_refused() -> None:
    issuer = Issuer(0, max_step_back_ms=2_000)
    issuer.try_make(0, NOW)
    assert issuer.try_make(0, NOW - 2_000) is None
    with pytest.raises(NotIssuing, match="2001 ms behind") as caught:
        issuer.try_make(0, NOW - 2_001)
    assert isinstance(caught.value, Unavailable)
    assert caught.value.status == 503


def test_nothing_is_made_at_or_below_the_mark_of_the_holder_before() -> None:
    issuer = Issuer(0, high_water_ms=NOW)
    assert issuer.try_make(7, NOW) is None
    assert issuer.try_make(7, NOW + 1) == make_id(NOW + 1, 7, 0, 0)


@pytest.mark.parametrize("number", [-1, ISSUERS])
def test_there_are_128_issuers(number: int) -> None:
    with pytest.raises(ValueError, match="issuer"):
        Issuer(number)
