"""Hash tags: every key of ours has one of 64, so that a batch is a few commands in a Cluster however many keys it has.

The tags are numbers chosen so that their slots lie evenly over the 16,384: tag n is the smallest number whose slot is in the n-th of 64
equal ranges. They are part of the layout of every store in Redis: changing them loses what is there.
"""

import zlib

from redis.crc import key_slot

COUNT = 64
SLOTS = 16_384


def _spread() -> tuple[bytes, ...]:
    found: dict[int, bytes] = {}
    number = 0
    while len(found) < COUNT:
        tag = b"%d" % number
        found.setdefault(key_slot(tag) * COUNT // SLOTS, tag)
        number += 1
    return tuple(found[index] for index in range(COUNT))


TAGS = _spread()
SLOT_OF = tuple(key_slot(tag) for tag in TAGS)


def tag_of(name: bytes) -> int:
    """Which of the tags a name belongs to, the same in every process."""
    return zlib.crc32(name) % COUNT
