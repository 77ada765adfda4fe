"""A child process that ends with us, however we end."""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# The kernel sends the death signal when the *thread* that made the child ends (prctl(2), PR_SET_PDEATHSIG), so children are made by one
# thread that lives as long as the process.
_maker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="servers")


def spawn(
    argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path, log: Path, inherit: Sequence[int] = ()
) -> subprocess.Popen[bytes]:
    """Start it with its output added to `log`, in a session of its own (a Ctrl-C in the terminal is for us alone). If this process dies,
    it gets SIGKILL from the kernel; where there is no setpriv(1), it lives on."""
    return _maker.submit(_spawn, argv, env, cwd, log, inherit).result()


def _spawn(
    argv: Sequence[str], env: Mapping[str, str] | None, cwd: Path, log: Path, inherit: Sequence[int]
) -> subprocess.Popen[bytes]:
    setpriv = shutil.which("setpriv")
    ends_with_us = (setpriv, "--pdeathsig", "KILL", "--") if setpriv else ()
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - fixed programs, no shell
            [*ends_with_us, *argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=cwd,
            start_new_session=True,
            pass_fds=inherit,
        )
