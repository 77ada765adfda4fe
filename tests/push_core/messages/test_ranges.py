"""Which store has which shards: read strictly, with sentences that name what is wrong and never a password."""

import pytest

from push_core.errors import ConfigError
from push_core.messages.ranges import split


def test_one_dsn_has_all_shards() -> None:
    (part,) = split("mysql://taco:pw@db/taco?writers=3")
    assert part == ("mysql://taco:pw@db/taco?writers=3", frozenset(range(256)))


def test_several_share_them_by_ranges_and_keep_their_other_options() -> None:
    first, second = split(
        "  mysql://db-1/taco?shards=0-99,200&writers=3\n mysql://db-2/taco?socket=/run/x&shards=100-199,201-255 "
    )
    assert first == ("mysql://db-1/taco?writers=3", frozenset([*range(100), 200]))
    assert second == ("mysql://db-2/taco?socket=/run/x", frozenset(range(100, 256)) - {200})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "no DSN"),
        ("mysql://db/a mysql://db/b?shards=0-255", "each says which shards it has"),
        (
            "mysql://u:hunter2@db/a?shards=0-128 mysql://db/b?shards=128-255",
            "shard 128 is given to mysql://u:***@db/a and to mysql://db/b",
        ),
        ("mysql://db/a?shards=0-127 mysql://db/b?shards=129-255", "no store has shard 128;"),
        ("mysql://db/a?shards=0-9", "no store has shard 10 (246 shards have none)"),
        ("mysql://db/a?shards=0-127 mysql://db/a?shards=128-255", "the same store is named twice"),
        ("mysql://db/a?shards=0-256", "is not a list of ranges within 0-255"),
        ("mysql://db/a?shards=9-3", "is not a list of ranges"),
        ("mysql://db/a?shards=all", "is not a list of ranges"),
    ],
)
def test_what_is_not_a_partition_of_the_shards_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        split(text)
    assert sentence in str(refused.value)
    assert "hunter2" not in str(refused.value)
