"""The benchmark of broadcasts runs: everybody gets each once and acks it."""

import uvloop

from bench.broadcast import COUNT, measure


def test_every_broadcast_is_acked_by_everybody() -> None:
    figures = uvloop.run(measure("proto", sessions=40, seconds=0.2, others=10))
    assert (figures["written"], figures["not_acked"], figures["repeats_on_wire"]) == (COUNT * 30, 0, 0)
    assert min(figures[name] for name in ("write_and_ack_cpu_us", "slice_us", "longest_slice_ms", "slices")) > 0
    assert figures["longest_turn_ms"] >= figures["longest_slice_ms"]
    assert figures["others_p99_ms_beside"] > 0
