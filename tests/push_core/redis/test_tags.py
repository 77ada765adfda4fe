"""Tags that spread evenly over a Cluster."""

from redis.crc import key_slot

from push_core.redis.tags import COUNT, SLOT_OF, SLOTS, TAGS, tag_of


def test_each_equal_range_of_slots_has_one_tag() -> None:
    assert [slot * COUNT // SLOTS for slot in SLOT_OF] == list(range(COUNT))
    assert [key_slot(b"taco:r:{%b}:77" % tag) for tag in TAGS] == list(SLOT_OF)


def test_the_tags_are_those_that_stores_were_written_with() -> None:
    assert TAGS[:4] + TAGS[-1:] == (b"10", b"18", b"113", b"342", b"40")
    assert [tag_of(name) for name in (b"", b"courier\0d-1", b"7302:courier:d-1:fcm")] == [0, 6, 8]
