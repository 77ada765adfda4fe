"""The `taco` command as its user runs it: a process, its output and its exit status."""

import asyncio
import json
import os
from asyncio.subprocess import PIPE
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.taco_process import command


@dataclass(frozen=True, slots=True)
class Done:
    status: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


async def taco(*arguments: str, env: dict[str, str] | None = None, cwd: Path | None = None) -> Done:
    """Run it to its end. Variables of Taco's own are not inherited."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TACO_")}
    process = await asyncio.create_subprocess_exec(
        *command(*arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
        env=clean | (env or {}),
        cwd=cwd,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return Done(process.returncode, out.decode(), err.decode())


async def create_app(data: Path, name: str) -> dict[str, str]:
    """Key and device secret of a new app, made beside a running server."""
    done = await taco("app", "create", name, "--data", str(data), "--json")
    assert done.status == 0, done.err
    secrets: dict[str, str] = done.json()
    return secrets
