"""Which of several message stores has which shards: `mysql://db-1/taco?shards=0-127 mysql://db-2/taco?shards=128-255`.

One DSN alone needs no `shards`. Pure text; opens nothing.
"""

import re
from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

from push_core.dsn import Dsn
from push_core.errors import ConfigError
from push_core.ids import SHARDS

_RANGE = re.compile(r"(\d{1,3})(?:-(\d{1,3}))?")
_EXAMPLE = "mysql://…/a?shards=0-127 mysql://…/b?shards=128-255"


class Part(NamedTuple):
    """A store's DSN, without the option `shards`, and the shards that it has."""

    dsn: str
    shards: frozenset[int]


def split(text: str) -> list[Part]:
    """Raises ConfigError unless each shard has one store."""
    dsns = text.split()
    if not dsns:
        raise ConfigError("[stores] messages: no DSN; write sqlite:///PATH or mysql://USER:PASSWORD@HOST/DATABASE")
    parts = [_part(dsn, alone=len(dsns) == 1) for dsn in dsns]
    owners: dict[int, int] = {}
    for number, part in enumerate(parts):
        for shard in sorted(part.shards):
            if shard in owners:
                one, other = (Dsn.hide_password(parts[n].dsn) for n in (owners[shard], number))
                raise ConfigError(f"[stores] messages: shard {shard} is given to {one} and to {other}")
            owners[shard] = number
    missing = [shard for shard in range(SHARDS) if shard not in owners]
    if missing:
        raise ConfigError(
            f"[stores] messages: no store has shard {missing[0]}"
            + (f" ({len(missing)} shards have none)" if len(missing) > 1 else "")
            + f"; together they have 0-{SHARDS - 1}, as in {_EXAMPLE}"
        )
    if len({part.dsn for part in parts}) < len(parts):
        raise ConfigError(
            "[stores] messages: the same store is named twice; give it all its shards at once: shards=0-63,128-191"
        )
    return parts


def _part(dsn: str, *, alone: bool) -> Part:
    try:
        url = urlsplit(dsn)
    except ValueError as error:
        raise ConfigError(f"[stores] messages: {Dsn.hide_password(dsn)!r} is no DSN: {error}") from None
    options = parse_qsl(url.query, keep_blank_values=True)
    given = [value for name, value in options if name == "shards"]
    if not given:
        if alone:
            return Part(dsn, frozenset(range(SHARDS)))
        raise ConfigError(
            f"[stores] messages: of several DSNs each says which shards it has, as in {_EXAMPLE}; {Dsn.hide_password(dsn)!r} does not"
        )
    rest = urlencode([(name, value) for name, value in options if name != "shards"], safe="/")
    bare = dsn.split("?", 1)[0] + (f"?{rest}" if rest else "")
    return Part(bare, frozenset(shard for text in given for shard in _shards(text)))


def _shards(text: str) -> list[int]:
    found: list[int] = []
    for piece in text.split(","):
        match = _RANGE.fullmatch(piece.strip())
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not 0 <= first <= last < SHARDS:
            raise ConfigError(
                f"[stores] messages: shards={text!r} is not a list of ranges within 0-{SHARDS - 1}, as 0-63,128-191"
            )
        found.extend(range(first, last + 1))
    return found
