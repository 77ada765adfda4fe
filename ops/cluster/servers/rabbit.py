"""A private RabbitMQ: a node of its own with an epmd (Erlang's name server) of its own, a user and a vhost.

Erlang's `rabbitmq-server` of Debian hands itself to the user `rabbitmq` and a fixed folder; the script behind it does not, so that is what
runs here. The script replaces itself by the Erlang VM, whose process id is therefore ours to signal.
"""

import os
import secrets
import socket
import subprocess
from pathlib import Path

from ops.cluster.servers.base import Server, ServerFailed, find, require
from ops.cluster.servers.process import spawn
from ops.demo_file import write_private
from push_core.errors import ConfigError

_USER = "taco"
_VHOST = "taco"
_DEBIAN = Path("/usr/lib/rabbitmq/bin")
_HELLO = b"AMQP\x00\x00\x09\x01"
_METHOD_FRAME = 1
_CTL_S = 60.0


class RabbitServer(Server):
    """`dsn` names the vhost `taco`. Its process runs in the foreground of ours, so it ends with us as the others do; a plugin is none
    enabled, and it listens on loopback only."""

    name = "rabbitmq"
    program = "rabbitmq-server"
    package = "rabbitmq-server"
    port_names = ("port", "distribution", "epmd")

    def __init__(self, folder: Path, *, schedulers: int = 1) -> None:
        """`schedulers` is the number of cores that it may use: what is left is for the programs of a small machine. Raises
        ConfigError for a folder that its scripts can't live in."""
        if "'" in str(folder.absolute()):
            raise ConfigError(
                f"{folder}: RabbitMQ never comes up in a folder with an apostrophe in its path; choose another"
            )
        super().__init__(folder)
        self._schedulers = schedulers
        self._epmd: subprocess.Popen[bytes] | None = None

    @classmethod
    def available(cls) -> bool:
        return super().available() and find("epmd") is not None

    @property
    def dsn(self) -> str:
        return self.dsn_of(_VHOST)

    def dsn_of(self, vhost: str) -> str:
        return f"amqp://{_USER}:{self._password}@127.0.0.1:{self.port}/{vhost}"

    @property
    def node(self) -> str:
        return f"taco-{self._ports['distribution']}@localhost"

    def ctl(self, *arguments: str) -> str:
        """`rabbitmqctl …` on this node; what it printed. Takes a second or two: it is an Erlang VM as well. Raises ServerFailed."""
        done = subprocess.run(  # noqa: S603 - a fixed program, no shell
            [_script("rabbitmqctl"), "--quiet", "--node", self.node, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={**os.environ, **self._environment()},
            cwd=self.folder,
            check=False,
            timeout=_CTL_S,
        )
        if done.returncode:
            raise ServerFailed(f"rabbitmqctl {arguments[0]} failed: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout.decode()

    def add_vhost(self, vhost: str) -> str:
        """Make a vhost that our user may use; its DSN."""
        self.ctl("add_vhost", vhost)
        self.ctl("set_permissions", "--vhost", vhost, _USER, ".*", ".*", ".*")
        return self.dsn_of(vhost)

    def _launch(self) -> subprocess.Popen[bytes]:
        self._write_configuration()
        self._start_epmd()
        return self._spawn(_script(self.program), env=self._environment())

    def _write_configuration(self) -> None:
        config = {
            "listeners.tcp.1": f"127.0.0.1:{self.port}",
            "default_user": _USER,
            "default_pass": self._password,
            "default_vhost": _VHOST,
            "log.file.level": "warning",
            "log.console": "false",
        }
        write_private(self.folder / "rabbitmq.conf", "".join(f"{name} = {value}\n" for name, value in config.items()))
        (self.folder / "enabled_plugins").write_text("[].\n")
        (self.folder / "env.conf").write_text("")  # instead of the machine's
        cookie = self.folder / ".erlang.cookie"
        if not cookie.exists():
            write_private(cookie, secrets.token_hex(16))
        cookie.chmod(0o400)  # Erlang insists

    def _environment(self) -> dict[str, str]:
        folder = str(self.folder)
        cores = self._schedulers
        return {
            "HOME": folder,  # where Erlang looks for its cookie
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_DIST_PORT": str(self._ports["distribution"]),
            "ERL_EPMD_PORT": str(self._ports["epmd"]),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_CRASH_DUMP_SECONDS": "0",  # none: it is large, and holds what is in messages
            "RABBITMQ_BASE": folder,
            "RABBITMQ_MNESIA_BASE": folder + "/mnesia",
            "RABBITMQ_LOG_BASE": folder + "/log",
            "RABBITMQ_PID_FILE": folder + "/rabbitmq.pid",
            "RABBITMQ_ENABLED_PLUGINS_FILE": folder + "/enabled_plugins",
            "RABBITMQ_CONFIG_FILE": folder + "/rabbitmq.conf",
            "RABBITMQ_ADVANCED_CONFIG_FILE": folder + "/advanced.config",
            "RABBITMQ_CONF_ENV_FILE": folder + "/env.conf",
            # The script then becomes the VM instead of watching over it as a child; -noinput is what it would have said itself.
            "RABBITMQ_ALLOW_INPUT": "1",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-noinput -kernel inet_dist_use_interface {127,0,0,1} "
                f"+S {cores}:{cores} +SDcpu {cores}:{cores} +SDio 2 +sbwt none +sbwtdcpu none +sbwtdio none +stbt u"
            ),
        }

    def _start_epmd(self) -> None:
        """In our foreground, so that it is known and ends with us; Erlang would leave one behind."""
        if self._epmd is not None and self._epmd.poll() is None:
            return
        port = str(self._ports["epmd"])
        self._epmd = spawn(
            [require("epmd"), "-port", port, "-address", "127.0.0.1"],
            cwd=self.folder,
            log=self.folder / "epmd.log",
        )

    def kill(self) -> None:
        super().kill()
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait()
            self._epmd = None

    def _answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), timeout=1.0) as connection:
            connection.sendall(_HELLO)
            return connection.recv(1) == bytes([_METHOD_FRAME])


def _script(name: str) -> str:
    beside = _DEBIAN / name
    return str(beside) if beside.exists() else require(name)
