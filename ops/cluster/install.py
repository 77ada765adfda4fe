"""What a cluster needs on the machine: by apt on a Debian whose root we are, else as a sentence that says what to install."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from ops.cluster import servers
from push_core.errors import ConfigError

_DEBIAN = Path("/etc/debian_version")
_TIMEOUT_S = 900.0


def ensure_installed(say: Callable[[str], None]) -> None:
    """Install what is missing, after saying so. Raises ConfigError if it can't be installed from here, or could not."""
    missing = servers.missing()
    if not missing:
        return
    packages = sorted(set(missing.values()))
    by_hand = f"apt-get install --no-install-recommends {' '.join(packages)}"
    if not (_DEBIAN.exists() and shutil.which("apt-get") and os.geteuid() == 0):
        raise ConfigError(
            f"{', '.join(missing)} not found: a cluster needs Redis, MariaDB and RabbitMQ. On Debian or Ubuntu, as root: {by_hand}"
        )
    say(f"Installing {', '.join(packages)} by apt …")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ("apt-get", "update", "-qq"),
        ("apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages),
    ):
        done = subprocess.run(  # noqa: S603 - fixed programs, no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            check=False,
            timeout=_TIMEOUT_S,
        )
        if done.returncode:
            said = done.stdout.decode(errors="replace").strip().splitlines()[-3:]
            raise ConfigError(f"`{' '.join(command)}` failed: {' | '.join(said)}; install by hand: {by_hand}")
    if missing := servers.missing():
        raise ConfigError(f"{', '.join(missing)} not found after `{by_hand}`")
