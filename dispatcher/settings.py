"""What a dispatcher can be told, section [dispatcher]. Every bound, pause and interval of the program is here."""

from dataclasses import dataclass
from pathlib import Path

from push_core.models import Priority
from push_core.settings import setting

ROLES = ("long", "vendor", "relay", "receipts")


@dataclass(frozen=True, slots=True)
class DispatcherSettings:
    zone: str = setting("default", "The zone whose receipts this dispatcher takes.")
    name: str = setting("dispatcher-1", "Name of this process, as operators see it.")
    roles: tuple[str, ...] = setting(
        ROLES,
        "What this process does: long (batches for connected devices), vendor (calls to vendors), relay (later work and "
        "what crashes left), receipts.",
    )

    store_timeout_s: float = setting(
        5.0, "Time for a call to a store that no batch makes: leases, probes.", at_least=0.01
    )
    ready_cache_s: float = setting(
        1.0, "How long an answer of the stores about /readyz (admin port) is good for.", at_least=0.0
    )

    # taking batches
    classes: tuple[str, ...] = setting(("shared",), "Queue classes to take from.")
    weight_urgent: int = setting(8, "Share of urgent batches among those taken.", at_least=1)
    weight_high: int = setting(4, "Share of high batches.", at_least=1)
    weight_normal: int = setting(2, "Share of normal batches.", at_least=1)
    weight_low: int = setting(1, "Share of low batches.", at_least=1)
    prefetch: int = setting(16, "Batches of one queue held at a time.", at_least=1)
    prefetch_low: int = setting(4, "Batches of one low queue held at a time.", at_least=1)
    batches_in_flight: int = setting(32, "Batches handled at a time.", at_least=1)
    batches_together: int = setting(
        16, "Small batches that lie ready at the same moment and are handled as one of these.", at_least=1
    )
    pause_max_s: float = setting(5.0, "Longest pause before a batch is given back while a store is down.", at_least=0.0)
    poison_tries: int = setting(
        2,
        "A batch that came back this often is handled envelope by envelope; one that still fails is parked.",
        at_least=1,
    )
    poison_deaths: int = setting(
        3,
        "A batch over which so many dispatchers died is put back envelope by envelope; an envelope over which so many died is parked.",
        at_least=1,
        at_most=20,
    )

    # deciding
    recall_check_after_ms: int = setting(
        1_000, "Envelopes older than this are checked for a recall; younger ones are followed by it.", at_least=0
    )
    expansion_page: int = setting(1_000, "Devices of an alias handled at a time.", at_least=1, at_most=10_000)
    apply_parallel: int = setting(2, "Writes to the message store under way at a time.", at_least=1)
    apply_bound: int = setting(10_000, "Lists of changes that may wait for the message store.", at_least=1)

    route_cache_s: float = setting(
        0.0,
        "How long it is remembered where a device is, for a first offer; 0: not at all. Worth it where few devices get most "
        "messages (docs/decisions/0012).",
        at_least=0.0,
        at_most=2.0,
    )
    route_stale_s: float = setting(
        10.0, "If it is: how long past that a route is tried while presence is away.", at_least=0.0
    )
    route_cache: int = setting(100_000, "Routes remembered then.", at_least=1)

    # calling gateways
    call_timeout_s: float = setting(5.0, "Deadline of a call to a gateway.", at_least=0.01)
    calls_per_node: int = setting(4, "Deliver calls under way to one node at a time.", at_least=1)
    offers_per_call: int = setting(256, "Messages in one Deliver call.", at_least=1)
    devices_per_call: int = setting(2_048, "Devices in one Deliver call.", at_least=1)
    node_bound: int = setting(
        1_024, "Lists of messages that may wait for one node; beyond it they are put off.", at_least=1
    )
    slow_node_s: float = setting(
        0.25,
        "After this long without an answer a batch waits no longer for a node: what it was given is looked at again later.",
        at_least=0.01,
    )
    silent_node_s: float = setting(
        1.0,
        "A node that has not answered a call for so long is given nothing more until it does: what is for it waits in inboxes.",
        at_least=0.01,
    )
    told_again_s: float = setting(
        1.0,
        "When a gateway that could not be told that something waits for its device is told again; doubles.",
        at_least=0.01,
    )
    told_again_max_s: float = setting(10.0, "Longest pause between two such tries.", at_least=0.01)
    sent_memory_s: float = setting(
        60.0, "How long it is remembered which message was given to which node.", at_least=1.0
    )
    sent_memory: int = setting(
        1_000_000, "Messages remembered; beyond it the oldest are left to the relay.", at_least=1_000
    )
    unreached_s: float = setting(
        3.0,
        "A gateway that nobody was found at for so long counts as gone: what it had un-acked is put back before its lease runs out.",
        at_least=0.01,
    )
    nodes_every_s: float = setting(2.0, "How often presence is asked which nodes live.", at_least=0.05)

    # receipts
    receipts_batch: int = setting(64, "Reports of gateways handled together.", at_least=1)
    lease_ttl_s: float = setting(
        15.0, "Length of the lease in presence by which gateways find this receipts service.", at_least=0.1
    )
    lease_renew_s: float = setting(2.0, "How often that lease is renewed.", at_least=0.01)
    receipts_bound: int = setting(2_000, "Reports that may wait; beyond it gateways are told to try again.", at_least=1)

    # later work and the relay
    later_every_s: float = setting(0.5, "How often due work is looked for.", at_least=0.01)
    later_batch: int = setting(500, "Due rows taken at a time.", at_least=1)
    later_hold_s: float = setting(
        60.0, "How long due work that was taken is left alone before it is taken again.", at_least=1.0
    )
    relay_first_s: float = setting(5.0, "Age at which the relay first reads a second of messages.", at_least=0.1)
    relay_second_s: float = setting(60.0, "Age of the second reading (late commits).", at_least=0.1)
    relay_third_s: float = setting(600.0, "Age of the third reading.", at_least=0.1)
    relay_every_s: float = setting(1.0, "How often the relay reads.", at_least=0.01)
    relay_page: int = setting(1_000, "Open deliveries that the relay reads at a time.", at_least=1)
    relay_rate: int = setting(
        500, "Messages a second that are published again at most while the queues are behind.", at_least=1
    )
    relay_rate_max: int = setting(
        10_000, "The same while the queues are next to empty; the rate goes up and down between the two.", at_least=1
    )
    relay_gap_s: float = setting(
        5.0, "First gap between two publishings of a message; doubles each time.", at_least=0.1
    )
    relay_max_gap_s: float = setting(600.0, "Longest gap.", at_least=1.0)
    gauges_every_s: float = setting(
        10.0, "How often the broker is asked how much waits, for the metrics.", at_least=0.1
    )
    sweep_every_s: float = setting(1.0, "How often inboxes are swept of what expired.", at_least=0.05)
    sweep_batch: int = setting(1_000, "Rows swept at a time.", at_least=1)
    presence_sweep_every_s: float = setting(30.0, "How often routes of dead nodes are removed.", at_least=0.1)
    retention_s: float = setting(
        9 * 86_400.0, "How long ended messages are kept: the longest ttl and two days more.", at_least=60.0
    )
    prune_every_s: float = setting(60.0, "How often messages past retention are removed.", at_least=0.1)

    # vendors
    vendor_channels: tuple[str, ...] = setting(
        ("webhook", "stub"), "Vendor channels on offer, the preferred first. Channels: webhook, stub."
    )
    vendor_net_s: float = setting(
        60.0,
        "When a delivery that was handed to a vendor's queue is looked at again if nothing came of it.",
        at_least=1.0,
    )
    vendor_parallel: int = setting(8, "Batches of one vendor handled at a time.", at_least=1)
    vendor_tries: int = setting(
        5, "Calls to vendors for one delivery at most, refusals for a time included.", at_least=1
    )
    vendor_retry_s: float = setting(
        5.0, "First pause before a vendor is asked again when it names none; doubles.", at_least=0.1
    )
    vendor_retry_max_s: float = setting(600.0, "Longest such pause.", at_least=0.1)
    claim_s: float = setting(30.0, "How long a claim on a vendor call holds; longer than any call.", at_least=1.0)
    claim_done_s: float = setting(86_400.0, "How long it is remembered that a vendor has a delivery.", at_least=1.0)
    breaker_failures: int = setting(
        5, "Failures in a row after which an app's vendor is left alone for a while.", at_least=1
    )
    breaker_open_s: float = setting(10.0, "How long it is left alone.", at_least=0.1)
    device_cache_s: float = setting(5.0, "How long a device's vendor tokens are kept in memory.", at_least=0.0)
    device_cache: int = setting(50_000, "Devices kept in memory.", at_least=1)
    stub_log: Path | None = setting(None, "File to which the stub vendor appends what it accepted, as JSON lines.")
    stub_kept: int = setting(1_000, "Accepted messages that the stub vendor keeps in memory.", at_least=1)
    webhook_timeout_s: float = setting(5.0, "Deadline of one webhook call, name resolution included.", at_least=0.05)
    webhook_connections: int = setting(64, "Connections to webhooks open at a time.", at_least=1)
    webhook_calls_per_app: int = setting(16, "Webhook calls of one app under way at a time.", at_least=1)
    webhook_response_bytes: int = setting(65_536, "Bytes of a webhook's answer that are read.", at_least=256)
    webhook_allowed_networks: tuple[str, ...] = setting(
        (), "Private networks (CIDR) that webhooks may reach nevertheless; the operator's choice, never an app's."
    )
    webhook_ports: tuple[str, ...] = setting(
        ("80", "443", "1024-65535"), "Ports that webhooks may use: numbers and ranges."
    )

    def weight(self, priority: Priority) -> int:
        return {
            Priority.URGENT: self.weight_urgent,
            Priority.HIGH: self.weight_high,
            Priority.NORMAL: self.weight_normal,
            Priority.LOW: self.weight_low,
        }[priority]

    def prefetch_of(self, priority: Priority) -> int:
        return self.prefetch_low if priority is Priority.LOW else self.prefetch
