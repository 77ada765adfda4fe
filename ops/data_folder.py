"""The folder of one `taco up`: made, held by one process at a time, with the secret that its programs show one another."""

import fcntl
import os
import secrets
from pathlib import Path
from typing import Self

from ops.demo_file import write_private
from push_core.errors import ConfigError

_LOCK = "lock"
CLUSTER_KEY_FILE = "cluster.key"


class DataFolder:
    """Use as a context: inside it no other process can start on the folder. The lock is the kernel's (flock(2)), so that it is gone with
    its process, however that ends; the process id in the file is for people."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None

    def __enter__(self) -> Self:
        """Raises ConfigError if the folder can't be made or written, or another process holds it."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot be used as the data folder ({error.strerror})") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
            os.close(descriptor)
            raise ConfigError(
                f"{self.path} is in use by another `taco up` or `taco cluster` (process {holder or 'unknown'}); stop it, or choose another folder with --data"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._lock = descriptor
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def cluster_key(self) -> str:
        """The secret of the programs in this folder, random at its first start. Raises ConfigError for an empty or unreadable file."""
        path = self.path / CLUSTER_KEY_FILE
        try:
            key = path.read_text().strip()
        except FileNotFoundError:
            key = secrets.token_urlsafe(32)
            write_private(path, key + "\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: cannot be read ({error})") from None
        if not key:
            raise ConfigError(f"{path} is empty; remove it and a new one is made")
        return key
