"""A child process that ends with us, however we end."""

import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ops.cluster.ending import dies_with_parent

# One thread makes them all: it lives as long as the process, which `dies_with_parent` asks for.
_maker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="servers")


def spawn(
    argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path, log: Path, inherit: Sequence[int] = ()
) -> subprocess.Popen[bytes]:
    """Start it with its output added to `log`, in a session of its own (a Ctrl-C in the terminal is for us alone). It dies with this
    process."""
    return _maker.submit(_spawn, argv, env, cwd, log, inherit).result()


def _spawn(
    argv: Sequence[str], env: Mapping[str, str] | None, cwd: Path, log: Path, inherit: Sequence[int]
) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - fixed programs, no shell
            [*dies_with_parent(), *argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=cwd,
            start_new_session=True,
            pass_fds=inherit,
        )
