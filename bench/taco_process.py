"""`taco up` as a process of its own: started, found, stopped, killed. For benchmarks, drills and end-to-end tests."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

START_S = 60.0  # a loaded machine may take long to import everything; no test waits for it when all is well


class DidNotStart(RuntimeError):
    """`status` is the exit status; the text is what it said on stderr."""

    def __init__(self, status: int | None, stderr: str) -> None:
        super().__init__(f"taco up ended with {status}: {stderr.strip()}")
        self.status = status
        self.stderr = stderr


@dataclass(slots=True)
class TacoProcess:
    """A running `taco up`. What it logs goes to `log`; the addresses are those of its demo app."""

    process: Process
    data: Path
    log: Path
    api: str
    gateway: str
    grpc: str
    app: str
    key: str
    device_secret: str
    page: str

    @property
    def pid(self) -> int:
        return self.process.pid

    async def stop(self, within_s: float = 30.0) -> int:
        """SIGTERM; the exit status. Raises TimeoutError (and kills it) if it does not end."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(within_s):
                return await self.process.wait()
        except TimeoutError:
            await self.kill()
            raise

    async def kill(self) -> None:
        """SIGKILL: nothing of it gets a chance to tidy up."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    def log_lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]


async def start_taco(
    data: Path, *options: str, env: dict[str, str] | None = None, cwd: Path | None = None
) -> TacoProcess:
    """Start on free ports and wait until it has said where it is. `data` is its folder, the log is a file beside it. Raises DidNotStart."""
    log = data.with_name(data.name + ".log")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as stderr:
        begins = stderr.tell()
        process = await asyncio.create_subprocess_exec(
            *command(
                "up",
                "--data",
                str(data),
                "--api-port",
                "0",
                "--gateway-port",
                "0",
                "--grpc-port",
                "0",
                "--json",
                *options,
            ),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=PIPE,
            stderr=stderr,
            env=os.environ | (env or {}),
            cwd=cwd,
        )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_S):
            line = await process.stdout.readline()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    if not line:
        raise DidNotStart(await process.wait(), log.read_bytes()[begins:].decode(errors="replace"))
    return TacoProcess(process=process, data=data, log=log, **json.loads(line))


def command(*arguments: str) -> Sequence[str]:
    """`taco …` with the interpreter that runs this."""
    return (sys.executable, "-m", "ops.cli", *arguments)
