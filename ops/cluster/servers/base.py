"""What every private server can do: start and answer, stop, be killed and be held, and come back on the same port with the same data."""

import json
import os
import secrets
import shutil
import signal
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Self

from ops.cluster.servers.ports import free_port
from ops.cluster.servers.process import spawn
from ops.demo_file import write_private
from push_core.errors import ConfigError

_STATE = "server.json"
_LOG = "server.log"
_LOOK_AGAIN_S = 0.02
_LAST_WORDS = 5


class ServerFailed(RuntimeError):
    """It did not start or does not answer; the text says what it said last and where its log is."""


class Server(ABC):
    """One instance in `folder`, which is made if need be and holds its data, log and secret (0600). Not started by its making.

    Ports and the password are drawn once for a folder. Calls may come from any thread, one at a time.
    """

    name: ClassVar[str]
    program: ClassVar[str]  # what must be installed
    package: ClassVar[str]  # Debian's name for it
    port_names: ClassVar[tuple[str, ...]] = ("port",)

    def __init__(self, folder: Path) -> None:
        """Raises ConfigError if the folder can't be used or its state can't be read."""
        self.folder = folder.absolute()
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise ConfigError(f"{folder}: cannot be used as a server's folder ({error.strerror})") from None
        self._ports, self._password = self._state()
        self._process: subprocess.Popen[bytes] | None = None
        self._has_answered = False  # in its present life
        self._turn = threading.RLock()
        self._ending = threading.Event()  # a start that is under way gives up

    @classmethod
    def available(cls) -> bool:
        """Whether it is installed here."""
        return find(cls.program) is not None

    @property
    @abstractmethod
    def dsn(self) -> str:
        """How programs reach it, password included."""

    @abstractmethod
    def _launch(self) -> subprocess.Popen[bytes]:
        """Write the configuration and start the process; it need not answer yet."""

    @abstractmethod
    def _answers(self) -> bool:
        """Ask it once, within a second or so. OSError counts as no."""

    @property
    def port(self) -> int:
        return self._ports["port"]

    @property
    def log(self) -> Path:
        return self.folder / _LOG

    @property
    def pid(self) -> int:
        """Of the server itself (of the Erlang VM for RabbitMQ). Raises ServerFailed when it was not started."""
        if self._process is None:
            raise ServerFailed(f"{self.name} in {self.folder} is not started")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process lives; a paused one does."""
        return self._process is not None and self._process.poll() is None

    @property
    def ready(self) -> bool:
        """Whether it runs and has answered since it was started."""
        return self.running and self._has_answered

    def start(self, within_s: float = 60.0) -> Self:
        """Start it and wait until it answers. Nothing happens if it runs. Raises ServerFailed, also when another thread stops it
        meanwhile; it does not run then."""
        with self._turn:
            self._ending.clear()
            if self.running:
                return self
            deadline = time.monotonic() + within_s
            self._has_answered = False
            process = self._process = self._launch()
            try:
                while not self._asked():
                    if process.poll() is not None:
                        raise ServerFailed(f"{self.program} ended with status {process.returncode}{self._last_words()}")
                    if self._ending.is_set():
                        raise ServerFailed(f"{self.program} was stopped while it started")
                    if time.monotonic() > deadline:
                        raise ServerFailed(
                            f"{self.program} does not answer on 127.0.0.1:{self.port} after {within_s:g} s{self._last_words()}"
                        )
                    time.sleep(_LOOK_AGAIN_S)
            except BaseException:
                self.kill()
                raise
            self._has_answered = True
            return self

    def stop(self, within_s: float = 20.0) -> None:
        """Ask it to end in its own way (SIGTERM) and wait; kill it when that takes too long."""
        self._ending.set()
        with self._turn:
            process = self._process
            if process is not None and process.poll() is None:
                self._send(signal.SIGCONT)
                self._send(signal.SIGTERM)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(within_s)
            self.kill()

    def kill(self) -> None:
        """SIGKILL, and wait until the process is gone."""
        self._ending.set()
        with self._turn:
            if self._process is not None:
                self._send(signal.SIGKILL)
                self._process.wait()

    def pause(self) -> None:
        """SIGSTOP: it keeps its port and connections, and answers nobody."""
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        self._send(signal.SIGCONT)

    def answers(self) -> bool:
        """Whether it runs and answers just now."""
        return self.running and self._asked()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<{self.name} on 127.0.0.1:{self.port} in {self.folder}>"

    def _asked(self) -> bool:
        try:
            return self._answers()
        except OSError:
            return False

    def _send(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(
                number
            )  # it looks first whether the process was reaped, so a pid is never another's

    def _state(self) -> tuple[dict[str, int], str]:
        path = self.folder / _STATE
        try:
            known = json.loads(path.read_text())
            return {name: int(known["ports"][name]) for name in self.port_names}, str(known["password"])
        except FileNotFoundError:
            ports: dict[str, int] = {}
            while len(set(ports.values())) < len(self.port_names):
                ports = {name: free_port() for name in self.port_names}
            password = secrets.token_urlsafe(24)
            write_private(path, json.dumps({"ports": ports, "password": password}) + "\n")
            return ports, password
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{path}: cannot be read ({error!r}); remove {self.folder} to begin anew") from None

    def _spawn(
        self, *argv: str, env: Mapping[str, str] | None = None, log: Path | None = None
    ) -> subprocess.Popen[bytes]:
        return spawn(argv, env={**os.environ, **(env or {})}, cwd=self.folder, log=log or self.log)

    def _last_words(self) -> str:
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 4_096))
                said = file.read().decode(errors="replace").split("\n")
        except OSError:
            return ""
        lines = [line.strip() for line in said if line.strip()][-_LAST_WORDS:]
        return f"; its log is {self.log}, which ends: {' | '.join(lines)}"


def find(program: str) -> str | None:
    """A program on the PATH, or where Debian keeps those for administrators; None when it is not installed."""
    return shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin:/sbin")


def require(program: str) -> str:
    """The same. Raises ServerFailed when it is not installed."""
    found = find(program)
    if found is None:
        raise ServerFailed(f"{program} is not installed")
    return found
