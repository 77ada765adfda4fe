"""Every metric, a line each: name, kind, what it says, its tags. `docs/metrics.md` is made from it."""

import enum
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Meaning:
    kind: str  # "count" | "gauge" | "timing"
    text: str
    tags: tuple[str, ...] = ()


class Metric(enum.Enum):
    """`Metric.API_REQUESTS.value` is the name on the wire; `Metric.API_REQUESTS.meaning` its catalogue line."""

    meaning: Meaning

    def __new__(cls, name: str, kind: str, text: str, *tags: str) -> Self:
        member = object.__new__(cls)
        member._value_ = name
        member.meaning = Meaning(kind, text, tags)
        return member

    __hash__ = object.__hash__  # each look-up of a series asks for it, and Enum's own is a call of Python

    # push API
    API_REQUESTS = ("api.requests", "count", "Requests answered", "method", "status")
    API_ACCEPTED = ("api.accepted", "count", "Messages answered with 202", "app")
    API_REFUSED = ("api.refused", "count", "Messages not accepted", "app", "code")
    API_COMMIT_BATCH = ("api.commit.batch", "gauge", "Messages in the newest commit")
    API_COMMIT_SECONDS = ("api.commit.seconds", "timing", "Time of one commit")
    API_PUBLISH_UNCONFIRMED = (
        "api.publish.unconfirmed",
        "count",
        "Batches that the queue did not confirm; the relay sends them",
    )
    # gateway
    GW_SESSIONS = ("gateway.sessions", "gauge", "Signed-in sessions")
    GW_SIGN_INS = ("gateway.sign_ins", "count", "Sign-ins by outcome", "outcome")
    GW_DIED = ("gateway.died", "count", "Starts of a node whose earlier life had not given up its lease: that one died")
    GW_MOVED = (
        "gateway.moved",
        "count",
        "Devices asked to connect elsewhere because the node is emptied",
    )
    GW_DRAINED = (
        "gateway.drained",
        "gauge",
        "1 while the node takes no new devices because it was told to move them away",
    )
    GW_CLOSED = ("gateway.closed", "count", "Connections closed by us", "code")
    GW_TLS_HANDSHAKES = (
        "gateway.tls.handshakes",
        "count",
        "TLS handshakes by how they ended; resumed: with a ticket, distrusted: by the client, client_certificate: it has no good one",
        "outcome",
    )
    GW_TLS_RELOADS = ("gateway.tls.reloads", "count", "Changed certificate files: taken or refused", "outcome")
    GW_TLS_REFUSED = (
        "gateway.tls.refused",
        "gauge",
        "1 while the certificate files are not those in use: they are no good",
    )
    GW_TLS_EXPIRES = ("gateway.tls.expires_s", "gauge", "Seconds until the certificate in use expires; below 0 it has")
    GW_PUSHES = ("gateway.pushes", "count", "Pushes offered by outcome", "outcome")
    GW_ACKS = ("gateway.acks", "count", "Acknowledged ids by status", "status")
    GW_ACKS_FOREIGN = ("gateway.acks.foreign", "count", "Acks for ids that this session was not sent")
    GW_ACK_MISSES = ("gateway.ack.misses", "count", "Pushes without an ack by their deadline")
    GW_TOPICS = ("gateway.topics", "gauge", "Topics that have a session here")
    GW_SUBSCRIPTIONS = ("gateway.subscriptions", "gauge", "Topics of all sessions, added up")
    GW_SUBSCRIBES = (
        "gateway.subscribes",
        "count",
        "Topics that clients asked for by what became of them: subscribed, forbidden, invalid_topic, too_many_topics",
        "outcome",
    )
    GW_BROADCASTS = (
        "gateway.broadcasts",
        "count",
        "Live broadcasts by what became of them: done, busy (too many wait), late",
        "outcome",
    )
    GW_BROADCAST_SESSIONS = (
        "gateway.broadcast.sessions",
        "count",
        "Sessions that a broadcast came to by outcome: written, full (window), gone (ended meanwhile), late (past its time)",
        "outcome",
    )
    GW_BROADCAST_SECONDS = ("gateway.broadcast.seconds", "timing", "Time from taking a broadcast to its last session")
    GW_BROADCAST_ACKS = ("gateway.broadcast.acks", "count", "Acknowledged ids of broadcasts by status", "status")
    GW_RECEIPTS_DROPPED = (
        "gateway.receipts.dropped",
        "count",
        "Receipts given up at a zone's buffer's bound or after the longest wait",
        "zone",
        "why",
    )
    GW_RECEIPTS_PENDING = ("gateway.receipts.pending", "gauge", "Receipts not yet taken by their zone")
    GW_REGISTERED_AGAIN = (
        "gateway.registered_again",
        "count",
        "Times all sessions were registered anew because presence had forgotten them or the lease",
        "why",
    )
    GW_RULES = (
        "gateway.rules",
        "count",
        "Requests and sign-ins that met a rule of control: passed, limited, refused; of a rule on trial: would_limit, would_refuse",
        "rule",
        "outcome",
    )
    GW_RULES_VERSION = ("gateway.rules.version", "gauge", "Version of the rules in force; 0: none was ever set")
    GW_RULES_BAD = ("gateway.rules.bad", "count", "Times that rules in control made no sense; those before hold")
    GW_PROXY_HEADERS = (
        "gateway.proxy.headers",
        "count",
        "Connections of trusted proxies by their PROXY header: client, local (the proxy's own), bad, late",
        "outcome",
    )
    GW_FLAPPING = (
        "gateway.flapping",
        "count",
        "Devices sent to rest because their connections dropped again and again",
    )
    GW_FLAPPING_RESTING = ("gateway.flapping.resting", "gauge", "Devices that rest")
    GW_FLAPPING_FORGOTTEN = (
        "gateway.flapping.forgotten",
        "count",
        "Devices whose drops or rest were forgotten at the bound, [gateway] flapping_devices",
    )
    GW_MEMORY_SHARE = (
        "gateway.memory.share",
        "gauge",
        "How much of the memory that there is for the process is used, 0 to 1; 0 where no bound is known",
    )
    # dispatcher
    DI_BATCHES = ("dispatcher.batches", "count", "Batches taken", "queue")
    DI_OUTCOMES = ("dispatcher.outcomes", "count", "Deliveries by outcome at the gateways", "outcome")
    DI_REPEATS_DROPPED = ("dispatcher.repeats.dropped", "count", "Repeats that the store showed as handled")
    DI_POISON = ("dispatcher.poison", "count", "Envelopes parked because they could not be handled")
    DI_STATES = ("dispatcher.states", "count", "Deliveries that entered a state", "state", "reason")
    DI_RECEIPTS = ("dispatcher.receipts", "count", "Receipts by what became of them", "applied")
    DI_VENDOR_CALLS = ("dispatcher.vendor.calls", "count", "Vendor calls by outcome", "channel", "outcome")
    DI_LEFT_TO_RELAY = (
        "dispatcher.left_to_relay",
        "count",
        "Envelopes left to the relay because their message store, one of several, is away",
    )
    DI_RELAY_REPUBLISHED = ("dispatcher.relay.republished", "count", "Deliveries published again by the relay")
    DI_GIVEN_BACK = (
        "dispatcher.given_back",
        "count",
        "Times a batch was put off because a neighbour was down",
        "queue",
    )
    DI_SENT_FORGOTTEN = (
        "dispatcher.sent.forgotten",
        "count",
        "Messages given to nodes and forgotten at the memory's bound: the relay finds them",
    )
    DI_NODE_CALL_SECONDS = ("dispatcher.node.seconds", "timing", "Time of one Deliver call")
    DI_QUEUE_SECONDS = ("dispatcher.queue.seconds", "timing", "Time that a batch waited in its queue", "queue")
    DI_QUEUE_DEPTH = ("dispatcher.queue.depth", "gauge", "Batches that wait in a queue", "queue")
    DI_PARKED = ("dispatcher.parked", "gauge", "Batches put aside from a queue, for people to look at", "queue")
    DI_BROADCASTS = (
        "dispatcher.broadcasts",
        "count",
        "Live broadcasts by what gateways answered at each look (taken, done, busy, late, elsewhere, unreached), and how many ended",
        "outcome",
    )
    DI_RELAY_READ = (
        "dispatcher.relay.read",
        "gauge",
        "When a reading of the relay (its lag in ms) last got to its end, unix seconds",
        "reading",
    )
    DI_RELAY_STUCK = (
        "dispatcher.relay.stuck",
        "count",
        "Messages published again for the fifth time or more: neither ended nor waiting, and not in flight either",
    )
    DI_NODES = ("dispatcher.nodes", "gauge", "Nodes alive in presence", "role")
    DI_NODES_LOST = (
        "dispatcher.nodes.lost",
        "count",
        "Gateways gone that messages were given to within the last minute",
    )
    # every program
    NEIGHBOUR_CALLS = (
        "neighbour.calls",
        "count",
        "Calls to stores, queues and other programs by what became of them: done, error, down, no_answer, busy, given_up",
        "target",
        "outcome",
    )
    NEIGHBOUR_SECONDS = ("neighbour.seconds", "timing", "Time of such calls", "target")
    RPC_REFUSED = (
        "rpc.refused",
        "count",
        "Calls between programs that were refused before anything was done, by either side",
        "reason",
    )
    REDIS_CALLS = ("redis.calls", "count", "Calls to Redis by what became of them", "store", "outcome")
    BREAKER_REFUSED = ("breaker.refused", "count", "Calls not made because their target failed lately", "target")
    CACHE_STALE = ("cache.stale", "count", "Values served past their time because the store was away", "cache")
    SHED = (
        "admission.shed",
        "count",
        "Requests and sign-ins refused because the process was overloaded",
        "place",
        "priority",
    )
    LIMITED = ("limits.refused", "count", "Requests, connections and sign-ins refused over a rate or number", "limit")
    LIMITS_LOCAL = ("limits.local", "count", "Asks for tokens answered by this process alone, the store being away")
    LOOP_LAG = ("process.loop_lag", "gauge", "Smoothed delay of the event loop, in seconds", "program")
    TASK_ERRORS = ("process.task_errors", "count", "Uncaught errors in background tasks", "task")
    ERROR_LOGS = ("process.error_logs", "count", "Log lines of level error and above", "logger")
    PROCESS_READY = ("process.ready", "gauge", "1: it takes work; 0: /readyz says why not", "role")
    PROCESS_MISSING = ("process.missing", "gauge", "1 while it is a reason of /readyz for not taking work", "what")
    PROCESS_STARTED = ("process.started", "gauge", "When the process started, unix seconds")
    PROCESS_RSS = ("process.rss_bytes", "gauge", "Resident memory")
    PROCESS_FILES = ("process.files", "gauge", "Open file descriptors")
    PROCESS_FILES_MOST = ("process.files.most", "gauge", "File descriptors that the process may have")
    PROCESS_CPU = ("process.cpu_ms", "count", "CPU used by all threads, in ms")
    PROCESS_TASKS = ("process.tasks", "gauge", "asyncio tasks alive")
    PROCESS_THREADS = ("process.threads", "gauge", "Threads of Python")
    PROCESS_COLLECTIONS = ("process.collections", "count", "Runs of Python's collector", "generation")
    PROCESS_DISK_FREE = ("process.disk.free_bytes", "gauge", "Room on the disk of the data folder")
    LOOP_WORST = ("process.loop.worst_s", "gauge", "Longest delay of the event loop since the last sample, in seconds")
    LOOP_HELD = ("process.loop.held", "count", "Times one callback held the event loop longer than [admin] held_s")
    NOT_RUN = ("process.not_run", "count", "Times the process was not run: stopped, or a machine without CPU to give")
    QUEUES_PUBLISHED = ("queues.published", "count", "Bodies by what the broker said of them", "outcome")
    QUEUES_CONNECTIONS = (
        "queues.connections",
        "count",
        "Connections to the broker by what became of them: connected, refused, lost",
        "use",
        "outcome",
    )
    QUEUES_DELETED = ("queues.deleted", "count", "Queues that were deleted under us, with what they held", "queue")
    QUEUES_REBUILT = ("queues.rebuilt", "count", "Consumers made anew because the broker sent them nothing")
    TRAIL_DROPPED = ("trail.dropped", "count", "Trail events dropped at the buffer's bound")
