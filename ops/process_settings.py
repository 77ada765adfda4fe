"""Settings that every program has as a process, section [process]: how it starts, waits and stops."""

from dataclasses import dataclass

from push_core.settings import setting

SECTION = "process"


@dataclass(frozen=True, slots=True)
class ProcessSettings:
    stop_s: float = setting(
        15.0,
        "Time to stop in after SIGTERM: finish what is under way, hand the rest back; then it is cut off. Below the time after which "
        "whatever runs the process kills it.",
        at_least=0.1,
    )
    retry_s: float = setting(
        2.0, "Pause between tries to open the stores and to start while a server is down.", at_least=0.05
    )
    say_every_s: float = setting(4.0, "How often a log line says what a start is waiting for.", at_least=0.05)
    collect_after: int = setting(
        50_000, "New objects after which Python's collector looks at them; more is less often.", at_least=700
    )
    restart_min_s: float = setting(
        0.5, "First pause before a gateway worker that died is started again.", at_least=0.01
    )
    restart_max_s: float = setting(15.0, "Longest such pause; it doubles with each death in a row.", at_least=0.01)
