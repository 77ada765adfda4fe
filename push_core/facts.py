"""What a server says of itself, for `taco doctor`: product and version, its clock, the settings that matter to us. Judged elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Facts:
    """`where` is for people, without a password. `ahead_ms`: how far its clock is ahead of ours at least, None where it has no other or does
    not say. `settings` by the server's own names; what it does not tell is left out."""

    where: str
    product: str
    ahead_ms: int | None = None
    settings: Mapping[str, int | str] = field(default_factory=dict)


def ahead_ms(theirs: float, asked: float, answered: float) -> int:
    """How far a clock is ahead of ours, all in seconds; what the asking itself took is not held against it.

    >>> ahead_ms(101.0, 100.0, 100.2), ahead_ms(100.1, 100.0, 100.2), ahead_ms(99.0, 100.0, 100.2)
    (800, 0, -1000)
    """
    if theirs > answered:
        return round((theirs - answered) * 1_000)
    return round((theirs - asked) * 1_000) if theirs < asked else 0
