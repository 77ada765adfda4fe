"""What every process of ours does to itself before it serves: files of its own, a fast loop, many descriptors, a collector that lets it work,
and two signals that end it. Knows nothing of the programs.
"""

import asyncio
import gc
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

import structlog

from ops import logs

log = structlog.get_logger(__name__)

SAME_SIGNAL_S = 0.3  # timeout(1) and shells pass one signal on twice: that is not an impatient user


def prepare(*, as_json: bool) -> None:
    """Before anything of ours is imported that loads gRPC. `as_json`: log lines for machines."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its C core writes to stderr what comes to us as an exception too
    logs.configure(as_json=as_json or not sys.stderr.isatty())
    os.umask(0o077)  # stores and copies hold device secrets and what is in messages: nobody else's to read


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def allow_many_connections() -> None:
    """A connection is a file descriptor, and the usual soft limit is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def settle_collector(new_objects: int) -> None:
    """Once all is started: what is alive now lives as long as the process, so the collector need not walk it again and again; and it looks
    at what is new after `new_objects` of them only, where the default of 700 costs a busy program a noticeable share."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(new_objects, 20, 50)


class Told:
    """SIGTERM or Ctrl-C: the first one sets `event`; one more, and the process ends at once. Make it on the running loop."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._at = 0.0
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._on_signal, number)

    def _on_signal(self, number: signal.Signals) -> None:
        if not self.event.is_set():
            self.event.set()
            self._at = self._loop.time()
        elif self._loop.time() - self._at > SAME_SIGNAL_S:  # asked twice: at once
            os._exit(128 + number)


def on_hangup(reload: Callable[[], None]) -> None:
    """SIGHUP asks the running loop for this, instead of ending the process."""

    def hung_up() -> None:
        log.info("told to read its files again")
        reload()

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hung_up)


def exit_after(seconds: float, status: int) -> None:
    """The process is over then, whatever hangs: a loop that is held, a driver's thread that waits for a server that is gone."""
    timer = threading.Timer(seconds, _exit, (status,))
    timer.daemon = True
    timer.start()


def _exit(status: int) -> None:
    sys.stderr.flush()
    os._exit(status)
