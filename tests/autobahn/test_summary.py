"""What the page says of a run of the suite."""

import pytest

from tests.autobahn.summary import Case, Run, failed, page, unexplained

RUN = Run("2026-01-02", "1.2.3", "25.10.1", "3.11.2", "0.21.0")


@pytest.mark.parametrize(
    ("behavior", "closing", "verdict"),
    [
        ("OK", "OK", "OK"),
        ("NON-STRICT", "OK", "NON-STRICT"),
        ("OK", "INFORMATIONAL", "INFORMATIONAL"),
        ("FAILED", "OK", "FAILED"),
        ("OK", "WRONG CODE", "WRONG CODE"),
        ("NON-STRICT", "UNCLEAN", "UNCLEAN"),
    ],
)
def test_a_case_is_as_good_as_its_worse_half(behavior: str, closing: str, verdict: str) -> None:
    assert Case("1.1.1", behavior, closing).verdict == verdict


def test_the_page_counts_by_section_and_names_each_case_that_is_not_ok() -> None:
    cases = [
        Case("1.1.1", "OK", "OK"),
        Case("6.4.1", "NON-STRICT", "OK"),
        Case("7.1.5", "OK", "WRONG CODE", "closes in the middle"),
        Case("10.1.1", "OK", "OK"),
    ]
    text = page(RUN, cases, {"6.4.1": "why"})
    assert "| 1 Framing | 1 | 1 | 0 | 0 | 0 |" in text
    assert "| 7 Close handling | 1 | 0 | 0 | 0 | 1 |" in text
    assert "| all | 4 | 2 | 1 | 0 | 1 |" in text
    assert "- **6.4.1** (non-strict): why\n" in text
    assert "- **7.1.5** (wrong code): NOT EXPLAINED. closes in the middle\n" in text
    assert [case.id for case in failed(cases)] == ["7.1.5"]
    assert [case.id for case in unexplained(cases, {"6.4.1": "why"})] == ["7.1.5"]
