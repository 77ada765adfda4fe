"""The W3C `traceparent`: a valid one is taken over, else one is made (W3C Trace Context §3.2)."""

import random
import re

_VALID = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}\Z")
_LATER = re.compile(r"(?!00|ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}-")
LENGTH = 55


def accept_or_make(header: str | None) -> str:
    """The caller's traceparent if it is valid. One of a later version is cut to the four parts that are known (§3.2.4)."""
    if header:
        if _VALID.match(header):
            return header
        if _LATER.match(header):
            return header[:LENGTH]
    # `| 1` keeps both ids from being all zeros, which the standard calls invalid.
    return f"00-{random.getrandbits(128) | 1:032x}-{random.getrandbits(64) | 1:016x}-01"
