"""What `taco doctor` makes of what it finds."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ops.doctor import judge
from ops.doctor.check import Check
from push_core.facts import Facts, ahead_ms

DURABLE: dict[str, Any] = {"innodb_flush_log_at_trx_commit": 1}


def facts(product: str = "MariaDB 10.11.6", *, ahead_ms: int | None = 0, **settings: int | str) -> Facts:
    return Facts("db:3306", product, ahead_ms, {name.replace("__", "-"): value for name, value in settings.items()})


@pytest.mark.parametrize(
    ("check", "verdict", "says"),
    [
        (judge.version("q", facts("RabbitMQ 3.7.28")), "fail", "RabbitMQ 3.8 or newer"),
        (judge.version("q", facts("RabbitMQ 3.10.8")), "ok", "db:3306"),
        (judge.version("r", facts("Redis 6.0.16")), "fail", "Redis 6.2 or newer"),
        (judge.version("m", facts("SQLite 3.40.1")), "ok", "SQLite"),
        (judge.clock("m", facts(ahead_ms=499)), "ok", "499 ms"),
        (judge.clock("m", facts(ahead_ms=-500)), "warn", "500 ms"),
        (judge.clock("m", facts(ahead_ms=5_000)), "fail", "time servers"),
        (judge.durability("m", facts(**DURABLE)), "ok", "=1"),
        (judge.durability("m", facts(innodb_flush_log_at_trx_commit=2)), "fail", "lost when the machine dies"),
        (judge.durability("m", facts()), "warn", "does not say"),
        (judge.durability("m", facts(**DURABLE, log_bin="ON", sync_binlog=0)), "warn", "sync_binlog = 1"),
        (judge.durability("m", facts(**DURABLE, log_bin="OFF", sync_binlog=0)), "ok", "=1"),
        (judge.durability("m", facts(synchronous=2)), "ok", "FULL"),
        (judge.durability("m", facts(synchronous=1)), "fail", "FULL"),
        (judge.writable("m", facts(read_only="ON")), "fail", "primary"),
        (
            judge.connections("m", facts(max_connections=151), 11, 12),
            "warn",
            "12 processes × 11 = 132 of max_connections=151",
        ),
        (judge.connections("m", facts(max_connections=151), 11, 13), "fail", "raise max_connections"),
        (judge.connections("m", facts(max_connections=151), 11, 5), "ok", "55"),
        (judge.eviction("r", facts(maxmemory=0, maxmemory__policy="noeviction")), "ok", "no maxmemory"),
        (judge.eviction("r", facts(maxmemory=5, maxmemory__policy="allkeys-lru")), "fail", "noeviction"),
        (judge.eviction("r", facts(maxmemory=0, maxmemory__policy="allkeys-lru")), "warn", "evicts nothing yet"),
        (judge.eviction("r", facts()), "warn", "does not say"),
        (judge.identity(None, certificates=False, separate=True), "fail", "TACO_STORES_CLUSTER_KEY"),
        (judge.identity(None, certificates=False, separate=False), "ok", "first start"),
        (judge.identity(None, certificates=True, separate=True), "ok", "certificates"),
        (judge.identity("short", certificates=False, separate=True), "warn", "5 characters"),
        (judge.identity("k" * 32, certificates=True, separate=True), "ok", "and certificates"),
        (judge.descriptors(1_024, {"gateway": 19_000})[0], "warn", "ulimit"),
        (judge.descriptors(65_536, {"gateway": 19_000})[0], "ok", "19000"),
        (judge.alone({"claims": "memory"})[0], "warn", "asked twice"),
    ],
)
def test_a_finding_has_a_verdict_and_says_what_to_do(check: Check, verdict: str, says: str) -> None:
    assert check.verdict == verdict
    assert says in f"{check.found} {check.do}"
    assert bool(check.do) == (verdict != "ok")


def test_what_does_not_apply_is_no_finding() -> None:
    sqlite = facts("SQLite 3", ahead_ms=None)
    assert judge.clock("m", sqlite) is None
    assert judge.writable("m", sqlite) is None
    assert judge.connections("m", sqlite, 0, 3) is None
    assert judge.alone({"claims": "redis", "limits": "redis"}) == []


@pytest.mark.parametrize(
    ("value", "zones", "verdicts"),
    [
        (None, {"api": "default", "gateway": "default"}, ["ok"]),
        (None, {"api": "west"}, ["ok", "fail"]),
        ({"zones": {"west": [[0, 255]]}}, {"api": "west", "gateway": "west"}, ["ok"]),
        ({"zones": {"west": [[0, 255]]}}, {"api": "west", "gateway": "east"}, ["ok", "fail"]),
        ({"zones": {"west": [[0, 300]]}}, {"api": "west"}, ["fail"]),
        ("nonsense", {"api": "west"}, ["fail"]),
    ],
)
def test_a_map_that_makes_no_sense_and_zones_without_a_shard_are_found(
    value: Any, zones: dict[str, str], verdicts: list[str]
) -> None:
    assert [check.verdict for check in judge.shards(value, 7, zones)] == verdicts


def test_a_copy_of_control_that_is_behind_or_broken_is_found() -> None:
    checks = judge.copies({"a": 7, "b": 6, "c": None}, 7)
    assert [check.verdict for check in checks] == ["ok", "warn", "warn"]


def test_what_the_asking_took_is_not_held_against_a_clock() -> None:
    assert [ahead_ms(theirs, 100.0, 102.0) for theirs in (99.0, 100.0, 101.9, 102.5)] == [-1_000, 0, 0, 500]


@pytest.mark.parametrize(
    ("days", "mode", "verdicts"),
    [
        (60, 0o100600, ["ok", "ok"]),
        (13, 0o100640, ["warn", "warn"]),
        (-1, 0o100644, ["fail", "fail"]),
    ],
)
def test_a_gateways_certificate_and_who_can_read_its_key(days: int, mode: int, verdicts: list[str]) -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    checks = judge.certificate(now + timedelta(days=days), now, mode)
    assert [check.verdict for check in checks] == verdicts
    assert all(bool(check.do) == (check.verdict != "ok") for check in checks)
