"""What Autobahn's client found, as a page: counts by section, and each case that is not OK with the reason for it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import dedent

GOOD = ("OK", "NON-STRICT", "INFORMATIONAL")
SECTIONS = {
    1: "Framing",
    2: "Pings and pongs",
    3: "Reserved bits",
    4: "Opcodes",
    5: "Fragmentation",
    6: "UTF-8",
    7: "Close handling",
    9: "Large messages",
    10: "Chopped sends",
}
# Why a case that is not OK is as it should be. A case that is not here is a question to be answered before this page is committed.
REASONS = {
    "7.1.6": (
        "A message of 256 KiB, a close and a ping are sent at once. The gateway answers in the order of what it reads: the whole message comes back, then the close."
        " Nothing more is read."
    ),
    "7.13.1": "A close with code 5000, which RFC 6455 §7.4.2 leaves undefined: answered with 1002.",
    "7.13.2": "A close with code 65535, which RFC 6455 §7.4.2 leaves undefined: answered with 1002.",
}


@dataclass(frozen=True, slots=True)
class Case:
    """One case of the suite: `behavior` while it ran, `closing` at its end."""

    id: str
    behavior: str
    closing: str
    description: str = ""

    @property
    def section(self) -> int:
        return int(self.id.partition(".")[0])

    @property
    def verdict(self) -> str:
        """The worse of both."""
        for found in (self.behavior, self.closing):
            if found not in GOOD:
                return found
        return max(self.behavior, self.closing, key=GOOD.index)


@dataclass(frozen=True, slots=True)
class Run:
    """What ran: `date` is ISO 8601, `taco` and the others are versions."""

    date: str
    taco: str
    suite: str
    python: str
    uvloop: str


def failed(cases: list[Case]) -> list[Case]:
    return [case for case in cases if case.verdict not in GOOD]


def unexplained(cases: list[Case], reasons: Mapping[str, str] = REASONS) -> list[Case]:
    return [case for case in cases if case.verdict != "OK" and case.id not in reasons]


def page(run: Run, cases: list[Case], reasons: Mapping[str, str] = REASONS) -> str:
    """Markdown. `cases` in the order in which they ran."""
    sections = sorted({case.section for case in cases})
    by_section = {number: Counter(case.verdict for case in cases if case.section == number) for number in sections}
    rows = [_row(f"{number} {SECTIONS.get(number, '')}".rstrip(), by_section[number]) for number in sections]
    rows.append(_row("all", Counter(case.verdict for case in cases)))
    other = [case for case in cases if case.verdict != "OK"]
    return (
        dedent(
            f"""\
            # WebSocket conformance

            <!-- written by `make conformance`, not by hand -->

            [Autobahn|Testsuite](https://github.com/crossbario/autobahn-testsuite) {run.suite} against the gateway's own WebSocket layer (`push_gateway/link.py`, `entrance.py`,
            `websocket_frames.py`, `handshake.py`) on {run.date}: Taco {run.taco}, CPython {run.python}, uvloop {run.uvloop}. The endpoint (`tests/autobahn/echo.py`) is an
            entrance that says every message back instead of waiting for a hello, with room for messages of 16 MiB where devices may send 64 KiB; gateways can't be told
            to open it. Sections 12 and 13 test compression, which is never negotiated, and 8 and 11 of the suite are empty. `make conformance` runs all cases again and writes this
            page; it needs a CPython 2.7 with pip for the suite's client. `tests/push_gateway/test_conformance.py` is a table of the same classes of cases, cut into reads at each place, which runs in
            `make test`.

            | section | cases | OK | non-strict | informational | failed |
            |---|---|---|---|---|---|
            """
        )
        + "\n".join(rows)
        + "\n\n"
        + ("## Not simply OK\n\n" if other else "Every case is OK.\n")
        + "".join(
            f"- **{case.id}** ({case.verdict.lower()}): {reasons.get(case.id) or 'NOT EXPLAINED. ' + case.description}\n"
            for case in other
        )
    )


def _row(name: str, counts: Counter[str]) -> str:
    bad = sum(count for verdict, count in counts.items() if verdict not in GOOD)
    cells = [name, str(counts.total()), *(str(counts[verdict]) for verdict in GOOD), str(bad)]
    return f"| {' | '.join(cells)} |"
