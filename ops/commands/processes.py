"""Which processes a command is about, where their admin ports are, and what opens these.

DATA/cluster.json, which `taco cluster` keeps true, tells names, process ids and ports; the cluster key comes from, first found: the
environment (TACO_STORES_CLUSTER_KEY), DATA/cluster.key, the settings file.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from ops.commands.output import Exit, fail

TIMEOUT_S = 10.0
FOLDER = Path("data/cluster")
_FILE = "cluster.json"
_ENV = "TACO_STORES_CLUSTER_KEY"

Admin = Annotated[str | None, typer.Option("--admin", metavar="HOST:PORT", help="Admin port of the process.")]
Name = Annotated[str | None, typer.Option("--name", metavar="NAME", help="Its name in DATA/cluster.json.")]
Data = Annotated[
    Path, typer.Option("--data", envvar="TACO_DATA", metavar="DIR", help="Folder of `taco cluster` or `taco up`.")
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Settings with the cluster key, TOML.",
        show_default="DATA/cluster.key, else taco.toml, if there is one",
    ),
]


@dataclass(frozen=True, slots=True)
class Process:
    """`pid` 0 and `name` "" when only the address is known."""

    name: str
    role: str
    pid: int
    admin: str

    @property
    def alive(self) -> bool | None:
        """None: not known. A stopped one lives."""
        if not self.pid:
            return None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    value: Any


class NoAnswer(Exception):
    """With the reason, for people."""


def chosen(admin: str | None, name: str | None, data: Path) -> Process:
    """The process that the options name. Fails with a sentence."""
    if admin is not None:
        if not admin.rpartition(":")[2].isdecimal():
            fail(f"--admin {admin!r} is not HOST:PORT", Exit.USAGE)
        return Process("", "", 0, admin)
    processes = of_cluster(data)
    if name is None:
        if len(processes) == 1:
            return processes[0]
        fail(f"which one? give --name: {', '.join(process.name for process in processes)}", Exit.USAGE)
    found = [process for process in processes if process.name == name]
    if not found:
        fail(
            f"{data / _FILE} has no process {name}; it has {', '.join(process.name for process in processes) or 'none'}",
            Exit.USAGE,
        )
    return found[0]


def here(data: Path) -> Path:
    """The folder of `taco cluster`; that of `taco up`, if it is the one that exists and none was named."""
    if data == FOLDER and not (data / _FILE).exists() and (FOLDER.parent / _FILE).exists():
        return FOLDER.parent
    return data


def cluster_file(data: Path) -> Mapping[str, Any]:
    """Fails with a sentence when it isn't there or makes no sense."""
    path = here(data) / _FILE
    try:
        found: Any = json.loads(path.read_text())
    except FileNotFoundError:
        fail(f"no {path} here: name its folder with --data, or give --admin HOST:PORT", Exit.USAGE)
    except (OSError, ValueError) as error:
        fail(f"{path} cannot be read ({error})", Exit.USAGE)
    if not isinstance(found, dict):
        fail(f"{path} is not what `taco cluster` writes", Exit.USAGE)
    return found


def of_cluster(data: Path) -> list[Process]:
    """All of DATA/cluster.json; an `admin` of "" has no admin port."""
    return [
        Process(
            str(entry.get("name", "")),
            str(entry.get("role", "")),
            int(entry.get("pid", 0)),
            f"127.0.0.1:{port}" if (port := entry.get("ports", {}).get("admin")) else "",
        )
        for entry in cluster_file(data).get("processes", ())
    ]


def cluster_key(data: Path, config: Path | None) -> str:
    """ "" when there is none: then the guarded pages can't be read."""
    if given := os.environ.get(_ENV):
        return given
    try:
        if key := (here(data) / "cluster.key").read_text().strip():
            return key
    except (OSError, UnicodeDecodeError):
        pass  # somebody else's, or none: the settings may have it
    from ops.settings import DEFAULT_FILE
    from push_core.errors import ConfigError
    from push_core.settings import read_file

    file = config or (DEFAULT_FILE if DEFAULT_FILE.is_file() else None)
    if file is None:
        return ""
    try:
        return str(read_file(file).get("stores", {}).get("cluster_key", ""))
    except ConfigError as error:
        fail(str(error), Exit.USAGE)


def ask(
    admin: str,
    path: str,
    *,
    key: str = "",
    query: Mapping[str, str] | None = None,
    timeout_s: float = TIMEOUT_S,
    method: str = "GET",
) -> Answer:
    """One page of an admin port, or what is asked of it (method POST). Raises NoAnswer."""
    host, _, port = admin.rpartition(":")
    connection = HTTPConnection(host.strip("[]"), int(port), timeout=timeout_s)
    target = f"{path}?{urlencode(query)}" if query else path
    try:
        connection.request(method, target, headers={"taco-cluster-key": key} if key else {})
        answer = connection.getresponse()
        body = answer.read()
        return Answer(answer.status, json.loads(body) if body else None)
    except TimeoutError:
        raise NoAnswer(f"no answer within {timeout_s:g} s") from None
    except OSError as error:
        raise NoAnswer(error.strerror or str(error)) from None
    except (HTTPException, ValueError):
        raise NoAnswer("an answer that is not Taco's; is this its admin port?") from None
    finally:
        connection.close()
