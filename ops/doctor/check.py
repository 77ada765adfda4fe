"""What one look found."""

import enum
from dataclasses import dataclass
from typing import Any


class Verdict(enum.StrEnum):
    OK = "ok"
    WARN = "warn"  # works, and may not for long, or not as promised
    FAIL = "fail"  # does not work, or breaks a promise


@dataclass(frozen=True, slots=True)
class Check:
    """`found` is what is so, `do` what to do about it ("" when nothing)."""

    name: str
    verdict: Verdict
    found: str
    do: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "verdict": self.verdict.value, "found": self.found, "do": self.do}


def ok(name: str, found: str) -> Check:
    return Check(name, Verdict.OK, found)


def warn(name: str, found: str, do: str) -> Check:
    return Check(name, Verdict.WARN, found, do)


def fail(name: str, found: str, do: str) -> Check:
    return Check(name, Verdict.FAIL, found, do)
