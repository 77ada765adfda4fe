"""What every program can be told about its admin port and about watching itself, section [admin]."""

from dataclasses import dataclass

from push_core.settings import setting

SECTION = "admin"


@dataclass(frozen=True, slots=True)
class AdminSettings:
    host: str = setting("127.0.0.1", "Address that the admin port listens on.")
    port: int = setting(
        0,
        "Port for /healthz, /readyz, /metrics and, with the cluster key, /debug/tasks, /debug/stacks, /debug/heap; 0 picks a free one, "
        "-1: none.",
        at_least=-1,
        at_most=65535,
    )
    connections: int = setting(32, "Connections to the admin port at a time; more are answered 503.", at_least=1)
    request_bytes: int = setting(8_192, "Longest request that the admin port reads.", at_least=512)
    request_s: float = setting(
        2.0, "Time that a connection to the admin port has to send its request, and to take its answer.", at_least=0.1
    )
    answer_s: float = setting(5.0, "Time that an answer of the admin port may take to make.", at_least=0.1)

    debug_s: float = setting(60.0, "Time that a page under /debug/ may take to make.", at_least=1.0)

    held_s: float = setting(
        0.1,
        "When one callback holds the event loop longer than this, the stack that holds it is logged; 0: never.",
        at_least=0.0,
    )
    held_every_s: float = setting(10.0, "Pause between two such log lines at least.", at_least=0.0)
    sample_s: float = setting(
        5.0, "How often the process measures itself: memory, files, CPU, tasks, readiness.", at_least=0.1
    )
