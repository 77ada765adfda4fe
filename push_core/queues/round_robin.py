"""Who is next among sources of different weight.

Smooth weighted round robin, as in nginx' upstreams (ngx_http_upstream_round_robin.c): in each round a source gains its weight and
the one that is chosen pays the sum of the round, so that takes are spread evenly and not in bursts. Only sources that could be
taken from play in a round: an idle one's share goes to the others, and it saves nothing up.
"""

from collections.abc import Sequence
from typing import Protocol, TypeVar


class Contender(Protocol):
    """`standing` starts at 0 and is this module's."""

    weight: int
    standing: int


C = TypeVar("C", bound=Contender)


def leader(playing: Sequence[C]) -> C | None:
    """Who would be chosen in a round of these; nothing changes. Of equals the first."""
    best: C | None = None
    for one in playing:
        if best is None or one.standing + one.weight > best.standing + best.weight:
            best = one
    return best


def play(playing: Sequence[C], chosen: C) -> None:
    """The round in which `chosen`, one of `playing`, is taken from."""
    for one in playing:
        one.standing += one.weight
    chosen.standing -= sum(one.weight for one in playing)
