"""The gateway's benchmark runs, and its books balance."""

import pytest
import uvloop

from bench.gateway import failed, measure

ASKED = (
    *("rss_per_session_kib", "signin_per_s", "signin_cpu_us", "push_ack_per_s", "push_ack_cpu_us"),
    *("fanout_per_s", "fanout_cpu_us", "p50_ms_at_2000", "p99_ms_at_2000", "sessions"),
)


@pytest.mark.parametrize("codec", ["json", "proto"])
def test_every_push_is_acked_once_and_paid_for(codec: str) -> None:
    figures = uvloop.run(measure(codec, sessions=40, seconds=0.2))
    assert all(isinstance(figures[name], int | float) for name in ASKED)
    assert (figures["remainder"], figures["repeats_on_wire"], figures["not_accepted"]) == (0, 0, 0)
    assert figures["offered"] > 256
    assert min(figures[name] for name in ASKED if name.endswith(("_us", "_per_s", "_2000"))) > 0


def test_a_late_client_a_lost_push_and_one_that_came_twice_spoil_a_run() -> None:
    good = {"void": False, "remainder": 0, "repeats_on_wire": 0, "not_accepted": 0}
    assert not failed(good)
    assert all(failed(good | {name: 1}) for name in good)
