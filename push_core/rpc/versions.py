"""Which versions of the internal RPC this release speaks, so that releases can roll.

The rule: fields are appended to structs at the end with defaults, and methods are added, without a new version. A change that an older release would
misread gets one: VERSION goes up, and OLDEST follows a release later, when no program of the release before runs any more. Every call
says both; two programs understand each other when neither is older than the oldest that the other one speaks.
"""

from dataclasses import dataclass

VERSION = 1
OLDEST = 1


@dataclass(frozen=True, slots=True)
class Spoken:
    """The versions of one program: the one that it speaks and the oldest that it understands."""

    version: int = VERSION
    oldest: int = OLDEST

    @classmethod
    def parse(cls, text: str) -> "Spoken | None":
        """What a call's header says; None for what makes no sense.

        >>> Spoken.parse("2/1"), Spoken.parse("x")
        (Spoken(version=2, oldest=1), None)
        """
        version, _, oldest = text.partition("/")
        if version.isascii() and version.isdigit() and oldest.isascii() and oldest.isdigit() and len(text) < 16:
            return cls(int(version), int(oldest))
        return None

    def understands(self, other: "Spoken") -> bool:
        return self.version >= other.oldest and other.version >= self.oldest

    def __str__(self) -> str:
        return f"{self.version}/{self.oldest}"
