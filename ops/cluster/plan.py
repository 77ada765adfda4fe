"""What a cluster consists of: which processes under which names, on which ports, with which settings. Starts nothing."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ops.cluster.servers import MariaServer, RabbitServer, RedisServer
from ops.cluster.servers.ports import free_port, is_free
from ops.cluster.settings_file import Tables
from ops.cluster.supervisor import Spec
from ops.demo_file import write_private
from push_core.errors import ConfigError

API, GATEWAY, DISPATCHER = "api", "gateway", "dispatcher"
SETTINGS = "cluster.toml"
LOGS = "log"
_PORTS = "ports.json"
_HOST = "127.0.0.1"
STOP_S = 5.0  # for each program: three of them in turn, then the servers, are what Ctrl-C takes


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line chooses. Of several processes of a kind the first has the port that is given (0: any free one), further
    gateways the next ones, further APIs any."""

    gateways: int = 2
    dispatchers: int = 2
    apis: int = 1
    relays: int = 0  # of their own; the other dispatchers then do everything else
    workers: int = 1  # of each gateway
    api_port: int = 8080
    gateway_port: int = 8081
    metrics: str = "prometheus://"
    config: Path | None = None


@dataclass(frozen=True, slots=True)
class Planned:
    """One process. `ports` are the same at each of its lives, and at the next start of the cluster if nobody took them meanwhile."""

    name: str
    role: str
    ports: Mapping[str, int]
    arguments: Sequence[str] = field(default=())
    env: Mapping[str, str] = field(default_factory=dict)

    def spec(self, data: Path) -> Spec:
        argv = (
            *(sys.executable, "-m", "ops.cli", self.role),
            *("--config", str((data / SETTINGS).absolute()), "--data", str((data / "programs" / self.name).absolute())),
            *self.arguments,
        )
        return Spec(self.name, self.role, argv, self.env, data / LOGS / f"{self.name}.log")


def processes(data: Path, options: Options) -> list[Planned]:
    """In the order in which they are to be stopped: who hands work on before who takes it. Their ports are written to DATA/ports.json.
    Raises ConfigError."""
    ports = _PortBook(data / _PORTS)
    planned = [
        *(_api(ports, number, options, data) for number in range(1, options.apis + 1)),
        *(_gateway(ports, number, options) for number in range(1, options.gateways + 1)),
        *(_dispatcher(ports, number, options) for number in range(1, options.dispatchers + 1)),
        *(_relay(ports, number) for number in range(1, options.relays + 1)),
    ]
    ports.write()
    return planned


def shared_settings(
    redis: RedisServer, maria: MariaServer, rabbit: RabbitServer, options: Options, cluster_key: str
) -> Tables:
    """The tables that all processes read."""
    return {
        "stores": {
            "messages": maria.dsn,
            "devices": maria.dsn,
            "presence": redis.dsn,
            "claims": redis.dsn,
            "limits": redis.dsn,
            "queues": rabbit.dsn,
            "metrics": options.metrics,
            "cluster_key": cluster_key,
        },
        "process": {"stop_s": STOP_S},
    }


def _api(book: "_PortBook", number: int, options: Options, data: Path) -> Planned:
    name = f"{API}-{number}"
    http = book.take(name, "http", options.api_port if number == 1 else 0)
    grpc, admin = book.take(name, "grpc"), book.take(name, "admin")
    env = {"TACO_API_NAME": name, "TACO_API_PORT": str(http), "TACO_API_GRPC_PORT": str(grpc), **_admin(admin)}
    return Planned(name, API, {"http": http, "grpc": grpc, "admin": admin}, ("--demo", str(data.absolute())), env)


def _gateway(book: "_PortBook", number: int, options: Options) -> Planned:
    name = f"{GATEWAY}-{number}"
    ws = book.take(name, "ws", options.gateway_port + number - 1 if options.gateway_port else 0)
    env = {"TACO_GATEWAY_NAME": name, "TACO_GATEWAY_PORT": str(ws)}
    if options.workers > 1:  # each has its own: they choose
        return Planned(name, GATEWAY, {"ws": ws}, ("--workers", str(options.workers)), env)
    rpc, admin = book.take(name, "rpc"), book.take(name, "admin")
    return Planned(name, GATEWAY, {"ws": ws, "rpc": rpc, "admin": admin}, env={**env, **_rpc(rpc), **_admin(admin)})


def _dispatcher(book: "_PortBook", number: int, options: Options) -> Planned:
    name = f"{DISPATCHER}-{number}"
    rpc, admin = book.take(name, "rpc"), book.take(name, "admin")
    roles = ("--roles", "long,vendor,receipts") if options.relays else ()
    env = {"TACO_DISPATCHER_NAME": name, **_rpc(rpc), **_admin(admin)}
    return Planned(name, DISPATCHER, {"rpc": rpc, "admin": admin}, roles, env)


def _relay(book: "_PortBook", number: int) -> Planned:
    name = f"relay-{number}"
    admin = book.take(name, "admin")
    return Planned(
        name, DISPATCHER, {"admin": admin}, ("--roles", "relay"), {"TACO_DISPATCHER_NAME": name, **_admin(admin)}
    )


def _rpc(port: int) -> dict[str, str]:
    return {"TACO_STORES_RPC": f"grpc://{_HOST}:{port}"}


def _admin(port: int) -> dict[str, str]:
    return {"TACO_ADMIN_PORT": str(port)}


class _PortBook:
    """The ports of each process, as they were at the last start."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._taken: dict[str, dict[str, int]] = {}
        try:
            self._known = {
                name: {use: int(port) for use, port in ports.items()}
                for name, ports in json.loads(path.read_text()).items()
            }
        except FileNotFoundError:
            self._known = {}
        except (OSError, ValueError, TypeError, AttributeError):
            raise ConfigError(f"{path}: cannot be read; remove it and new ports are chosen") from None

    def take(self, name: str, use: str, wish: int = 0) -> int:
        """`wish` if it is given; else the port of the last time, unless somebody else has it by now; else a new one."""
        used = {port for ports in self._taken.values() for port in ports.values()}
        port = wish or self._known.get(name, {}).get(use, 0)
        while not port or port in used or not (wish or is_free(port)):
            if wish:
                raise ConfigError(f"port {wish} is asked for twice: gateways take --gateway-port and those after it")
            port = free_port()
        self._taken.setdefault(name, {})[use] = port
        return port

    def write(self) -> None:
        write_private(self._path, json.dumps(self._known | self._taken, indent=1) + "\n")
