"""Settings of the push API: every timeout, bound and interval it uses. Section `[api]`."""

from dataclasses import dataclass

from push_core.settings import setting
from push_core.shards import DEFAULT_ZONE

SECTION = "api"


@dataclass(frozen=True, slots=True)
class ApiSettings:
    zone: str = setting(DEFAULT_ZONE, "Zone of this process: new messages get ids of its shards.")
    name: str = setting("api-1", "Name of this process, as operators see it.")
    host: str = setting("127.0.0.1", "Address to listen on, for HTTP and gRPC.")
    port: int = setting(8080, "Port for HTTP; 0 picks a free one.", at_least=0, at_most=65_535)
    grpc_port: int = setting(
        8082, "Port for gRPC; 0 picks a free one, -1 leaves gRPC off.", at_least=-1, at_most=65_535
    )

    request_timeout_s: float = setting(
        5.0, "Time for one request once it has been read; then 503 (the outcome is unknown).", at_least=0.01
    )
    head_timeout_s: float = setting(
        10.0, "Time for a request's line and headers to arrive, else the connection is closed.", at_least=0.01
    )
    body_timeout_s: float = setting(10.0, "Time for a request's body to arrive, else 408.", at_least=0.01)
    keep_alive_s: float = setting(60.0, "How long an idle HTTP connection is kept.", at_least=0.01)
    max_body_bytes: int = setting(
        4 * 1024 * 1024, "Largest request, HTTP body or gRPC message, in bytes; larger ones get 413.", at_least=1_024
    )
    max_head_bytes: int = setting(32 * 1024, "Most bytes of a request's line and headers; more gets 400.", at_least=512)
    max_connections: int = setting(4_096, "Most HTTP connections; further ones get 503 and are closed.", at_least=1)
    max_in_flight: int = setting(
        2_048, "Most requests under way, for HTTP and gRPC each; further ones get 503.", at_least=1
    )

    max_address_connections: int = setting(
        0, "Most HTTP connections from one address; further ones get 429 and are closed. 0: no limit.", at_least=0
    )
    address_rate: float = setting(
        0.0, "Requests a second that this process takes from one address; more get 429. 0: no limit.", at_least=0.0
    )
    address_burst: int = setting(0, "Requests that an address may send at once; 0: as many as in a second.", at_least=0)
    app_rate: float = setting(
        0.0,
        "Messages a second that an app may send, all processes together, any other request counting as one; more get 429. "
        "0: no limit. `taco app limit` sets an app's own.",
        at_least=0.0,
    )
    app_burst: int = setting(0, "Messages that an app may send at once; 0: as many as in a second.", at_least=0)
    limits_timeout_s: float = setting(
        0.25, "Time for the limits store to answer; then this process grants a share by itself.", at_least=0.01
    )
    limits_away_s: float = setting(1.0, "How long it is not asked then.", at_least=0.0)
    limits_share: float = setting(0.5, "That share of an app's rate and burst.", at_least=0.01, at_most=1.0)
    shed_lag_s: float = setting(
        0.25,
        "Smoothed delay of the event loop from which on what is more than can be served gets 503, low messages first, urgent "
        "ones last. 0: never.",
        at_least=0.0,
    )
    shed_slow_s: float = setting(
        1.0, "The same when what ends has taken so long, or nothing has ended for so long. 0: never.", at_least=0.0
    )
    shed_serve_s: float = setting(
        0.4, "What can be served then: what was served in the best second lately, times this.", at_least=0.01
    )
    shed_cool_off_s: float = setting(1.0, "For how long after that it still does.", at_least=0.0)
    shed_least: int = setting(64, "So many requests under way are never too many.", at_least=1)
    shed_retry_s: float = setting(
        2.0, "When those turned away are asked to come back: half of it to half as much again, at random.", at_least=0.1
    )

    commit_batch: int = setting(500, "Most messages in one commit.", at_least=1, at_most=500)
    commit_parallel: int = setting(
        1, "Commits under way at a time. While one is, the next batch gathers.", at_least=1, at_most=64
    )
    commit_every_ms: int = setting(
        10,
        "Shortest time between the beginnings of two commits: what comes faster is gathered, and every stage behind has its costs by the batch.",
        at_least=0,
        at_most=1_000,
    )
    commit_bound: int = setting(20_000, "Most messages waiting for a commit; more get 503.", at_least=500)
    commit_timeout_s: float = setting(5.0, "Time for one commit; then its outcome is unknown (503).", at_least=0.01)
    store_timeout_s: float = setting(5.0, "Time for any other call to a store.", at_least=0.01)
    collision_tries: int = setting(
        5, "How often a message gets a new id when its id is taken; then 503.", at_least=1, at_most=100
    )

    publish_bound: int = setting(
        50_000, "Most committed messages waiting for the queue; at it new messages get 503.", at_least=500
    )
    publish_parallel: int = setting(4, "Publish calls under way at a time.", at_least=1, at_most=64)
    publish_every_ms: int = setting(
        5, "Shortest time between two publish calls: what comes faster is gathered.", at_least=0, at_most=1_000
    )
    publish_timeout_s: float = setting(
        5.0, "Time for the queue to confirm; then the messages are left to the relay.", at_least=0.01
    )

    issuer_ttl_s: float = setting(15.0, "Length of the lease of this process's issuer number.", at_least=0.1)
    issuer_renew_s: float = setting(5.0, "How often the lease is renewed.", at_least=0.01)
    clock_step_back_ms: int = setting(
        2_000, "How far the clock may step back before no more ids are made; less is waited out.", at_least=0
    )

    app_cache_s: float = setting(
        2.0, "How long an app's keys are remembered: after that a changed or disabled key counts.", at_least=0.0
    )
    app_cache_size: int = setting(10_000, "Most apps remembered; the longest unused goes first.", at_least=1)
    app_cache_stale_s: float = setting(
        30.0,
        "How long past that time keys are still good while the device store is away; 0: not at all (503).",
        at_least=0.0,
    )
    ready_cache_s: float = setting(
        1.0, "How long an answer of /readyz is good for: callers can't burden the stores with it.", at_least=0.0
    )
