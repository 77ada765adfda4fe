"""`taco status`: which processes live, which take work, and why the others don't."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

import typer

from ops.commands.options import AsJson
from ops.commands.output import Exit, fail, print_json, print_table
from ops.commands.processes import FOLDER, Data, NoAnswer, Process, ask, chosen, cluster_file, of_cluster

AT_A_TIME = 8
TIMEOUT_S = 5.0


def status(
    admin: Annotated[
        list[str] | None,
        typer.Option(
            "--admin", metavar="HOST:PORT", help="Admin port of a process; may be repeated.", show_default=False
        ),
    ] = None,
    data: Data = FOLDER,
    as_json: AsJson = False,
) -> None:
    """Ask each process whether it takes work, and why not. Exit status 1 when one doesn't."""
    processes = [chosen(address, None, data) for address in admin] if admin else of_cluster(data)
    servers = [] if admin else list(cluster_file(data).get("servers", ()))
    if not processes:
        fail(f"no process runs in {data}", Exit.FAILED)
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        found = list(pool.map(_asked, processes))
    found.extend(_of_server(server) for server in servers)
    if as_json:
        print_json({"processes": found})
    else:
        print_table(
            ("name", "role", "process", "takes work", "why not"),
            (
                (line["name"], line["role"], line["pid"] or "", line["ready"], "; ".join(line["reasons"]))
                for line in found
            ),
        )
    if not all(line["ready"] for line in found):
        raise typer.Exit(Exit.FAILED)


def _of_server(server: Mapping[str, Any]) -> dict[str, Any]:
    """It lives, or not: what it thinks of itself is in the reasons of those who need it."""
    pid = int(server.get("pid", 0))
    alive = bool(Process("", "", pid, "").alive)
    reasons = [] if alive else [f"process {pid} is gone"]
    return {"name": server.get("name", ""), "role": "server", "pid": pid, "ready": alive, "reasons": reasons}


def _asked(process: Process) -> dict[str, Any]:
    reasons: list[str]
    if process.alive is False:
        reasons = [f"process {process.pid} is gone"]
    elif not process.admin:
        reasons = ["it has no admin port to ask"]
    else:
        try:
            answer = ask(process.admin, "/readyz", timeout_s=TIMEOUT_S)
            reasons = list((answer.value or {}).get("reasons", ())) if answer.status != 200 else []
            if answer.status not in (200, 503):
                reasons = [f"answered {answer.status}; is this an admin port?"]
        except NoAnswer as error:
            reasons = [str(error)]
    return {
        "name": process.name or process.admin,
        "role": process.role,
        "pid": process.pid,
        "ready": not reasons,
        "reasons": reasons,
    }
