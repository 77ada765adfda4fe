"""Every alarm: on which metrics, under which condition, for how long, how bad, and which runbook of `ops/sop/` says what to do.

`docs/alarms.md` and `ops/sop/alarms.rules.yml` (for Prometheus) are made from this list; tests hold it against the metrics' catalogue and
the runbooks. A threshold is a starting point: it is changed here by whoever was woken for nothing, or too late.
"""

import json
from collections.abc import Iterable

from ops.alarm import Alarm, Severity, fewer, grew, misses, nobody, p99

GROUP = "taco"
RULES = "ops/sop/alarms.rules.yml"
PAGE, TICKET = Severity.PAGE, Severity.TICKET

ALARMS = (
    # somebody is gone
    Alarm("api-down", PAGE, 60, "no push API takes work", nobody("api"), "api-down.md"),
    Alarm("gateway-down", PAGE, 60, "no gateway takes work", nobody("gateway"), "gateway-lost.md"),
    Alarm("dispatcher-down", PAGE, 60, "no dispatcher takes work", nobody("dispatcher"), "dispatcher-down.md"),
    Alarm(
        "gateway-lost",
        TICKET,
        60,
        "fewer gateways are leased in presence than in the last 15 minutes",
        fewer("gateway"),
        "gateway-lost.md",
    ),
    Alarm(
        "gateway-died",
        TICKET,
        0,
        "a gateway started whose earlier life had not ended in order",
        grew("gateway.died", "15m", "instance"),
        "gateway-lost.md",
    ),
    Alarm(
        "gateway-drained",
        TICKET,
        3_600,
        "a gateway has been told to take no devices for an hour",
        "{gateway.drained} == 1",
        "gateway-drain.md",
    ),
    Alarm(
        "drain-forced",
        TICKET,
        0,
        "devices of a gateway that was emptied did not go by themselves",
        grew("gateway.closed", "15m", "instance", '{code="4100"}', 100),
        "gateway-drain.md",
    ),
    Alarm(
        "receipts-lost",
        TICKET,
        60,
        "fewer receipts services (dispatchers) are leased in presence than in the last 15 minutes",
        fewer("receipts"),
        "dispatcher-down.md",
    ),
    Alarm(
        "restarting",
        PAGE,
        0,
        "a process started more than three times in 15 minutes",
        "changes({process.started}[15m]) > 3",
        "not-starting.md",
    ),
    Alarm(
        "not-ready", TICKET, 300, "a process has not taken work for 5 minutes", "{process.ready} == 0", "not-ready.md"
    ),
    Alarm(
        "not-run",
        TICKET,
        0,
        "a process stood still (stopped, or no CPU to be had) and runs again",
        grew("process.not_run", "15m", "instance"),
        "process-stopped.md",
    ),
    # the door of devices
    Alarm(
        "certificate-expiring",
        TICKET,
        3600,
        "a gateway's certificate expires within 14 days",
        f"min({{gateway.tls.expires_s}}) < {14 * 86_400}",
        "certificate.md",
    ),
    Alarm(
        "certificate-expires",
        PAGE,
        300,
        "a gateway's certificate expires within 2 days, or has expired: then no device connects",
        f"min({{gateway.tls.expires_s}}) < {2 * 86_400}",
        "certificate.md",
    ),
    Alarm(
        "certificate-refused",
        TICKET,
        120,
        "a gateway goes on with its old certificate: the new files are no good",
        "max by (instance) ({gateway.tls.refused}) == 1",
        "certificate.md",
    ),
    Alarm(
        "certificate-distrusted",
        PAGE,
        300,
        "more than a fifth of those who begin a TLS handshake do not take a gateway's certificate",
        'sum(rate({gateway.tls.handshakes}{outcome="distrusted"}[5m])) / sum(rate({gateway.tls.handshakes}[5m])) > 0.2',
        "certificate.md",
    ),
    # a server
    Alarm(
        "mariadb-down",
        PAGE,
        30,
        "a store does not answer",
        misses("the message store", "the device store"),
        "mariadb-down.md",
    ),
    Alarm(
        "mariadb-slow",
        PAGE,
        120,
        "1 % of the commits take more than a second, or do not come back",
        p99("api.commit.seconds", "", "job", 1.0)
        + ' or sum(rate({neighbour.calls}{target="messages",outcome="no_answer"}[2m])) > 0.1',
        "mariadb-stalled.md",
    ),
    Alarm("redis-down", PAGE, 30, "presence does not answer", misses("presence"), "redis-down.md"),
    Alarm(
        "redis-emptied",
        TICKET,
        0,
        "gateways register their sessions again: presence had forgotten them",
        grew("gateway.registered_again", "5m", "why"),
        "redis-emptied.md",
    ),
    Alarm(
        "redis-slow",
        PAGE,
        120,
        "1 % of the calls to Redis take more than half a second",
        p99("neighbour.seconds", 'target=~"presence|claims|limits"', "target", 0.5),
        "redis-slow.md",
    ),
    Alarm("rabbitmq-down", PAGE, 30, "the broker does not answer", misses("the queue"), "rabbitmq-down.md"),
    Alarm(
        "publish-unconfirmed",
        TICKET,
        120,
        "the broker does not confirm what is published (a queue is full, or the broker ill); the relay sends it later",
        "sum(rate({api.publish.unconfirmed}[2m])) > 0",
        "rabbitmq-down.md",
    ),
    Alarm(
        "queue-deleted",
        TICKET,
        0,
        "a queue was deleted under us, with what it held",
        grew("queues.deleted", "15m", "queue"),
        "queue-deleted.md",
    ),
    Alarm(
        "breaker-open",
        TICKET,
        60,
        "calls are not made because their target failed lately",
        "sum by (target) (rate({breaker.refused}[1m])) > 1",
        "breaker-open.md",
    ),
    # messages are late, or stuck
    Alarm(
        "backlog-old",
        PAGE,
        120,
        "1 % of urgent or high batches wait for more than 5 seconds in their queue",
        p99("dispatcher.queue.seconds", 'queue=~".*(urgent|high)"', "queue", 5.0),
        "backlog.md",
    ),
    Alarm(
        "backlog-deep",
        TICKET,
        300,
        "more than 1,000 batches wait in a queue, and they become more",
        "max by (queue) ({dispatcher.queue.depth}) > 1000 and max by (queue) (deriv({dispatcher.queue.depth}[5m])) > 0",
        "backlog.md",
    ),
    Alarm(
        "relay-behind",
        PAGE,
        60,
        "no relay got to the end of a reading for more than a minute",
        "time() - max by (reading) ({dispatcher.relay.read}) > 60 or absent({dispatcher.relay.read})",
        "relay-behind.md",
    ),
    Alarm(
        "ledger-remainder",
        TICKET,
        600,
        "messages are published again and again: they neither end nor wait",
        grew("dispatcher.relay.stuck", "10m"),
        "ledger-remainder.md",
    ),
    Alarm(
        "parked",
        TICKET,
        0,
        "batches were put aside because they could not be handled",
        "max by (queue) ({dispatcher.parked}) > 0 or " + grew("dispatcher.poison", "15m"),
        "parked.md",
    ),
    Alarm(
        "gateway-silent",
        PAGE,
        60,
        "more than 5 % of what is offered to gateways gets no answer in time",
        'sum(rate({dispatcher.outcomes}{outcome="unknown"}[2m])) / sum(rate({dispatcher.outcomes}[2m])) > 0.05',
        "gateway-hung.md",
    ),
    Alarm(
        "ack-misses",
        TICKET,
        600,
        "more than 20 % of the pushes written to devices get no ack by their deadline",
        "sum(rate({gateway.ack.misses}[10m])) / sum(rate({gateway.pushes}[10m])) > 0.2",
        "ack-misses.md",
    ),
    Alarm(
        "receipts-pending",
        PAGE,
        120,
        "a gateway holds more than 10,000 receipts that no dispatcher takes",
        "{gateway.receipts.pending} > 10000",
        "receipts-waiting.md",
    ),
    Alarm(
        "receipts-dropped",
        TICKET,
        0,
        "receipts were given up; their messages are sent again, and devices drop the repeats",
        grew("gateway.receipts.dropped", "15m", "zone, why"),
        "receipts-waiting.md",
    ),
    Alarm(
        "vendor-failing",
        TICKET,
        300,
        "more than half of the calls to a vendor fail",
        'sum by (channel) (rate({dispatcher.vendor.calls}{outcome!~"delivered_to_vendor|token_invalid|skipped"}[5m]))'
        " / sum by (channel) (rate({dispatcher.vendor.calls}[5m])) > 0.5",
        "vendor-failing.md",
    ),
    # callers are refused
    Alarm(
        "issuer-lease-lost",
        PAGE,
        30,
        "an API holds no issuer number and accepts nothing",
        misses("no issuer number is held"),
        "issuer-lease-lost.md",
    ),
    Alarm(
        "shedding",
        PAGE,
        120,
        "requests or sign-ins are refused because a process is overloaded",
        "sum by (place) (rate({admission.shed}[2m])) > 1",
        "shedding.md",
    ),
    Alarm(
        "turned-away",
        TICKET,
        120,
        "more than five connections or sign-ins a second are refused over a number, a rate or a rule",
        "sum by (limit) (rate({limits.refused}[2m])) > 5",
        "turned-away.md",
    ),
    Alarm(
        "flapping",
        TICKET,
        0,
        "more than 100 devices were sent to rest in 5 minutes because their connections drop",
        grew("gateway.flapping", "5m", more_than=100),
        "turned-away.md",
    ),
    Alarm(
        "rules-bad",
        TICKET,
        0,
        "control holds rules for gateways that make no sense",
        grew("gateway.rules.bad", "15m"),
        "turned-away.md",
    ),
    Alarm(
        "memory-short",
        PAGE,
        60,
        "a gateway has used nine tenths of its memory and takes no more devices",
        "{gateway.memory.share} > 0.9",
        "turned-away.md",
    ),
    Alarm(
        "versions-differ",
        PAGE,
        0,
        "programs refuse each other's calls: another cluster key, or a release that does not fit",
        grew("rpc.refused", "5m", "reason"),
        "versions-differ.md",
    ),
    # a process is ill
    Alarm(
        "task-errors",
        TICKET,
        0,
        "errors that nobody caught, or a background task that fails again and again",
        grew("process.task_errors", "10m", "task", '{task=~"stray|thread"}')
        + " or "
        + grew("process.task_errors", "10m", "task", more_than=30),
        "errors.md",
    ),
    Alarm(
        "error-logs",
        TICKET,
        0,
        "a module wrote more than 20 error lines in 5 minutes",
        grew("process.error_logs", "5m", "logger", more_than=20),
        "errors.md",
    ),
    Alarm(
        "loop-held",
        TICKET,
        0,
        "callbacks held an event loop too long more than five times in 5 minutes",
        grew("process.loop.held", "5m", "instance", more_than=5),
        "loop-held.md",
    ),
    Alarm(
        "loop-late", PAGE, 120, "an event loop is more than a second late", "{process.loop.worst_s} > 1", "loop-held.md"
    ),
    Alarm(
        "memory-growing",
        TICKET,
        3_600,
        "a process grows by more than a gigabyte a day",
        "deriv({process.rss_bytes}[2h]) * 86400 > 1e9",
        "memory-growing.md",
    ),
    Alarm(
        "files-running-out",
        PAGE,
        60,
        "a process has used 80 % of the file descriptors that it may have",
        "{process.files} / {process.files.most} > 0.8",
        "files-running-out.md",
    ),
    Alarm(
        "disk-full",
        PAGE,
        60,
        "less than 2 GB are left on the disk of a data folder",
        "min by (job) ({process.disk.free_bytes}) < 2e9",
        "disk-full.md",
    ),
)


def rules() -> str:
    """ops/sop/alarms.rules.yml. Its strings are JSON's, which YAML takes as they are."""
    lines = [
        "# Made from ops/alarms.py by `make docs`; edits here are lost. For Prometheus: rule_files.",
        "groups:",
        f"  - name: {GROUP}",
        "    rules:",
    ]
    for alarm in ALARMS:
        lines += [
            f"      - alert: {json.dumps(alarm.name)}",
            f"        expr: {json.dumps(alarm.query)}",
            *([f"        for: {alarm.for_s}s"] if alarm.for_s else []),
            "        labels:",
            f"          severity: {alarm.severity}",
            "        annotations:",
            f"          summary: {json.dumps(alarm.when)}",
            f"          runbook: {json.dumps(f'ops/sop/{alarm.runbook}')}",
        ]
    return "\n".join(lines) + "\n"


def by_runbook(alarms: Iterable[Alarm] = ALARMS) -> dict[str, list[Alarm]]:
    found: dict[str, list[Alarm]] = {}
    for alarm in alarms:
        found.setdefault(alarm.runbook, []).append(alarm)
    return found
