"""Settings of a gateway: every timeout, bound and interval it uses. Section `[gateway]`."""

from dataclasses import dataclass
from pathlib import Path

from push_core.settings import setting
from push_core.shards import DEFAULT_ZONE

SECTION = "gateway"


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    zone: str = setting(DEFAULT_ZONE, "Zone of this node.")
    name: str = setting("gw-1", "Name of this node, as callers see it in a device's presence.")
    host: str = setting("127.0.0.1", "Address to listen on for devices.")
    port: int = setting(8081, "Port for devices; 0 picks a free one.", at_least=0, at_most=65_535)
    reuse_port: bool = setting(False, "Let several gateways of one machine share the port (SO_REUSEPORT).")
    backlog: int = setting(1_024, "Connections that may wait to be taken by the process.", at_least=1)

    max_sessions: int = setting(
        18_000, "Most signed-in sessions; a further hello gets 4003 and a time to come back.", at_least=1
    )
    max_connections: int = setting(
        19_000, "Most connections, signed in or not; further ones are closed at once.", at_least=1
    )
    overload_retry_ms: int = setting(
        15_000, "Up to how long a device that was refused for load is asked to stay away, at random.", at_least=0
    )

    trusted_proxies: tuple[str, ...] = setting(
        (),
        "Networks of the proxies in front whose word on the address of a client counts: 10.0.0.0/8, 2001:db8::/32, 192.0.2.7.",
    )
    proxy_protocol: bool = setting(
        False,
        "Connections from trusted_proxies begin with a PROXY header, version 1 or 2 (haproxy: send-proxy-v2); one without is closed. Others "
        "have none.",
    )
    forwarded_for: bool = setting(
        False,
        "Believe trusted_proxies in the header X-Forwarded-For: the last address in it that is not one of theirs.",
    )
    address_connections: int = setting(
        0,
        "Most connections of one address, of IPv6 of one /64; more are closed, behind forwarded_for answered 429. 0: no limit, as behind a "
        "load balancer that hides addresses.",
        at_least=0,
    )
    app_sessions: int = setting(
        0,
        "Most sessions of one app on this node, where the app has no number of its own (taco app limit --sessions); more get 4003 and a time "
        "to come back. 0: no limit.",
        at_least=0,
    )
    sign_ins: float = setting(
        0.0,
        "Sign-ins a second that this node takes; each of those beyond gets 4003 and a moment of its own to come back. 0: no limit.",
        at_least=0.0,
    )
    sign_ins_burst: int = setting(0, "Sign-ins taken at once; 0: as many as in a second.", at_least=0)
    sign_ins_wait_s: float = setting(
        60.0, "The latest moment that is given to one of them, in seconds from now.", at_least=1.0
    )
    address_sign_ins: float = setting(
        0.0,
        "Sign-ins a second that this node takes from one address; more get 4003 and a time to come back. 0: no limit, as behind "
        "a load balancer that hides addresses.",
        at_least=0.0,
    )
    address_sign_ins_burst: int = setting(
        0, "Sign-ins that an address may send at once; 0: as many as in a second.", at_least=0
    )
    shed_lag_s: float = setting(
        0.25,
        "Smoothed delay of the event loop from which on more sign-ins than can be served get 4003. 0: never.",
        at_least=0.0,
    )
    shed_slow_s: float = setting(
        1.0, "The same when what ends has taken so long, or nothing has ended for so long. 0: never.", at_least=0.0
    )
    shed_serve_s: float = setting(
        0.4, "What can be served then: what was served in the best second lately, times this.", at_least=0.01
    )
    shed_cool_off_s: float = setting(1.0, "For how long after that they still do.", at_least=0.0)
    shed_least: int = setting(1_000, "So many sign-ins under way are never too many.", at_least=1)

    tls_cert: Path | None = setting(
        None,
        "The gateway's certificate and those that lead to the root (PEM): devices connect with wss://. None: no TLS.",
    )
    tls_key: Path | None = setting(
        None, "Its private key (PEM, without a password). None: it is in the file of tls_cert."
    )
    tls_clients: str = setting(
        "none",
        "Whether devices show certificates of their own. optional: one that is shown must be good.",
        choices=("none", "optional", "required"),
    )
    tls_client_ca: Path | None = setting(None, "Authorities that sign the certificates of devices (PEM).")
    tls_check_s: float = setting(
        5.0, "How often those files are looked at; new handshakes get what has changed. SIGHUP: at once.", at_least=0.01
    )
    tls_handshake_timeout_s: float = setting(
        10.0, "Time for the TLS handshake, waiting for its turn included; then the connection ends.", at_least=0.01
    )

    memory_limit_mb: int = setting(
        0,
        "Memory that this process may use, in MiB; that of its control group (a container's) counts besides. 0: only that.",
        at_least=0,
    )
    memory_share: float = setting(
        0.9,
        "From so much of it on no more sessions are taken than there are; a further hello gets 4003. 0: never.",
        at_least=0.0,
        at_most=1.0,
    )
    memory_every_s: float = setting(5.0, "How often memory is looked at.", at_least=0.1)
    ready_shed_s: float = setting(
        10.0, "When sign-ins have been refused for load for so long, /readyz says so. 0: never.", at_least=0.0
    )

    session_frames_per_s: float = setting(
        50.0,
        "Frames a second that one session may send, acks of what was sent to it not counted; beyond it 4003. 0: no limit.",
        at_least=0.0,
    )
    session_bytes_per_s: float = setting(32_768.0, "The same in bytes.", at_least=0.0)
    session_burst_s: float = setting(
        10.0,
        "What it may send at once: that of so many seconds. Who was closed for it is asked to stay away for as long.",
        at_least=0.1,
    )
    flapping_drops: int = setting(
        15,
        "A device whose connection drops so often within flapping_within_s rests: sign-ins get 4003. Counted by each node for itself. 0: "
        "never.",
        at_least=0,
    )
    flapping_within_s: float = setting(60.0, "See flapping_drops.", at_least=0.1)
    flapping_rest_s: float = setting(300.0, "How long such a device rests.", at_least=0.1)
    flapping_devices: int = setting(
        20_000,
        "Most devices whose drops are remembered, and most that rest; beyond it the oldest is forgotten, with a count.",
        at_least=1,
    )

    max_head_bytes: int = setting(8_192, "Largest upgrade request, in bytes; a larger one gets HTTP 431.", at_least=256)
    upgrade_timeout_s: float = setting(5.0, "Time for the upgrade request to arrive.", at_least=0.01)
    hello_timeout_s: float = setting(5.0, "Time for the hello after the upgrade, else 4005.", at_least=0.01)
    max_message_bytes: int = setting(
        65_536, "Largest WebSocket message from a device, in bytes; a larger one gets 1009.", at_least=1_024
    )
    close_linger_s: float = setting(
        2.0, "How long a closed connection may take to send what is left and to answer the close.", at_least=0.01
    )

    unacked_timeout_s: float = setting(
        60.0,
        "A connection on which something sent stays without the acknowledgement of the device's network for so long is given up "
        "(TCP_USER_TIMEOUT, on Linux). 0: the system's own time, a quarter of an hour.",
        at_least=0.0,
    )

    heartbeat_min_s: int = setting(60, "Shortest heartbeat interval a device may wish for.", at_least=1)
    heartbeat_max_s: int = setting(600, "Longest heartbeat interval a device may wish for.", at_least=1)
    heartbeat_default_s: int = setting(240, "Interval of a device without a wish.", at_least=1)
    heartbeat_grace: float = setting(
        1.5, "A session is closed (4001) after this many intervals without a frame.", at_least=1.0
    )
    ping_burst: int = setting(
        5, "Pings a device may send at once; one comes back per half of heartbeat_min_s. More get 4008.", at_least=1
    )

    window_default: int = setting(32, "Pushes un-acked per session when the device has no wish.", at_least=1)
    window_max: int = setting(256, "Most pushes un-acked per session.", at_least=1)
    window_full_s: float = setting(60.0, "A full window without an ack for so long is closed (4002).", at_least=0.01)
    written_after_s: float = setting(
        1.0, "A push un-acked for so long is reported as written (state `sending`).", at_least=0.01
    )
    unsent_limit_bytes: int = setting(
        256 * 1024, "A session with more than this unsent is closed (4002).", at_least=1_024
    )
    unsent_timeout_s: float = setting(
        30.0, "A session with something unsent for so long is closed (4002).", at_least=0.01
    )
    token_spread_s: float = setting(
        60.0, "Sessions whose token expires end within so many seconds after it, at random.", at_least=0.0
    )
    wheel_resolution_s: float = setting(0.25, "Step of the timing wheel: how late a timeout may be.", at_least=0.001)

    app_cache_s: float = setting(10.0, "How long an app's keys are kept; so long a change takes.", at_least=0.0)
    app_cache_size: int = setting(10_000, "Most apps whose keys are kept.", at_least=1)
    sign_in_batch: int = setting(64, "Most sign-ins handled together.", at_least=1, at_most=1_000)
    sign_in_parallel: int = setting(4, "Batches of sign-ins under way at a time.", at_least=1, at_most=64)
    sign_in_bound: int = setting(10_000, "Most sign-ins waiting; a further hello gets 4003.", at_least=1)
    sign_out_bound: int = setting(
        50_000, "Most sign-outs waiting for presence; more are left to the dispatchers' corrections.", at_least=1
    )
    drain_batch: int = setting(16, "Most inboxes read together.", at_least=1, at_most=1_000)
    drain_parallel: int = setting(4, "Inbox reads under way at a time.", at_least=1, at_most=64)
    store_timeout_s: float = setting(5.0, "Time for one call to a store.", at_least=0.01)
    ready_cache_s: float = setting(
        1.0, "How long an answer of the stores about /readyz (admin port) is good for.", at_least=0.0
    )
    retry_min_s: float = setting(0.1, "First pause after a failed call to a neighbour, at most.", at_least=0.001)
    retry_max_s: float = setting(5.0, "Longest pause after failed calls to a neighbour.", at_least=0.001)

    deliver_slice: int = setting(
        256, "Devices of one Deliver call handled before others get their turn.", at_least=1, at_most=10_000
    )
    topics_per_session: int = setting(
        100,
        "Topics that a session may subscribe to at its own wish; one more gets `error` `too_many_topics`. 0: topics are not offered.",
        at_least=0,
        at_most=10_000,
    )
    broadcast_rate: float = setting(
        0.0,
        "Sessions a second that live broadcasts are written to, all gateways of the limits' store together; 0: no limit. "
        "`taco gateway broadcast-rate` sets another one while programs run.",
        at_least=0.0,
    )
    broadcast_slice_s: float = setting(
        0.0015, "For how long a broadcast is written before others get their turn.", at_least=0.0001, at_most=0.1
    )
    broadcast_turn_s: float = setting(
        0.003,
        "How long a turn of the event loop may be that broadcasts take part in: with much to do for others their slices get shorter.",
        at_least=0.0001,
        at_most=0.1,
    )
    broadcasts_waiting: int = setting(
        256,
        "Broadcasts that may wait for their turn; one more is not taken, and its dispatcher asks again.",
        at_least=1,
    )
    broadcasts_kept: int = setting(
        4_096,
        "Broadcasts that are remembered, so that each is written once; one more is not taken while none of them is past its time.",
        at_least=1,
    )
    limits_timeout_s: float = setting(
        0.25, "Time for the store of limits to answer; then a share is granted without it.", at_least=0.001
    )
    limits_away_s: float = setting(1.0, "How long it is not asked then.", at_least=0.0)
    limits_share: float = setting(
        0.1, "That share of broadcast_rate: one gateway's part of it.", at_least=0.001, at_most=1.0
    )

    receipts_linger_s: float = setting(0.05, "How long receipts wait for company.", at_least=0.0)
    receipts_batch: int = setting(1_000, "Most receipts in one report.", at_least=1)
    receipts_parallel: int = setting(2, "Reports under way per zone.", at_least=1, at_most=64)
    receipts_bound: int = setting(
        100_000, "Most receipts kept for a zone that can't be reached; more are dropped with a count.", at_least=1
    )
    receipts_keep_s: float = setting(
        600.0,
        "How long a receipt is kept for a zone that does not take it; then it is dropped with a count, and its message is sent again.",
        at_least=0.01,
    )
    receipts_timeout_s: float = setting(5.0, "Time for one report.", at_least=0.01)

    peers_every_s: float = setting(
        2.0, "How often presence is asked which programs live (receipts services, other gateways).", at_least=0.01
    )

    lease_ttl_s: float = setting(15.0, "Length of the node's lease in presence.", at_least=0.1)
    lease_renew_s: float = setting(
        2.0, "How often the lease is renewed; so long an emptied presence goes unnoticed.", at_least=0.01
    )
    compare_period_s: float = setting(
        600.0, "Within this time every session's route is compared with presence.", at_least=1.0
    )
    compare_least: int = setting(
        32, "Routes compared at each renewal at least: how soon an emptied presence is noticed.", at_least=1
    )
    register_per_s: int = setting(2_000, "Routes registered again per second after presence lost them.", at_least=1)
    register_batch: int = setting(200, "Routes in one call of that.", at_least=1)

    max_age_s: float = setting(
        86_400.0,
        "Age at which a connection is asked to be made anew (migrate, then 4004), give or take a tenth of it, so that devices spread over "
        "nodes that came later. 0: never.",
        at_least=0.0,
    )

    drain_s: float = setting(
        10.0,
        "Time in which devices are moved to other nodes when this one stops, within process.stop_s; who is left is closed with 4100. "
        "0: all are closed at once (4000).",
        at_least=0.0,
    )
    drain_rate: int = setting(
        200,
        "Devices that are asked to connect elsewhere (migrate) in any second, at most: as many as the other nodes can sign in beside their "
        "work. Workers of one parent share it.",
        at_least=1,
    )
    drain_leave_s: float = setting(
        5.0, "A device that is still here so long after it was asked to go is closed (4100).", at_least=0.05
    )
    drain_notice_s: float = setting(
        0.0,
        "How long /readyz fails before listening stops: the time in which a load balancer notices. Of drain_s.",
        at_least=0.0,
    )
    drain_urls: tuple[str, ...] = setting(
        (), "Addresses where moved devices are to connect (wss://…); none: the same or another of those they know."
    )
    stop_retry_ms: int = setting(
        5_000,
        "Up to how long devices are asked to wait before they reconnect when the node stops without moving them.",
        at_least=0,
    )
