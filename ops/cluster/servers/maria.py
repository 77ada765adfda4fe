"""A private MariaDB: every commit is on disk before it is answered, strict SQL mode, one user who may do everything on this instance."""

import os
import shutil
import socket
import subprocess
from pathlib import Path

from ops.cluster.servers.base import Server, ServerFailed, find, require
from ops.demo_file import write_private

DATABASE = "taco"
_USER = "taco"
_ERROR_PACKET = 0xFF


class MariaServer(Server):
    """`dsn` names the database `taco`, which is there; the user may create others."""

    name = "mariadb"
    program = "mariadbd"
    package = "mariadb-server"

    def __init__(self, folder: Path, *, max_connections: int = 200, buffer_pool_mb: int = 256) -> None:
        super().__init__(folder)
        self._max_connections = max_connections
        self._buffer_pool_mb = buffer_pool_mb

    @classmethod
    def available(cls) -> bool:
        return super().available() and find("mariadb-install-db") is not None

    @property
    def dsn(self) -> str:
        return self.dsn_of(DATABASE)

    def dsn_of(self, database: str) -> str:
        return f"mysql://{_USER}:{self._password}@127.0.0.1:{self.port}/{database}"

    @property
    def socket(self) -> Path:
        """Unix sockets have a short limit on their path's length, so it may be beside the data or in /tmp."""
        path = self.folder / "mariadb.sock"
        return path if len(str(path)) < 100 else Path(f"/tmp/taco-mariadb-{self.port}.sock")  # noqa: S108 - 0700 is not needed: it asks for the password

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _launch(self) -> subprocess.Popen[bytes]:
        config = self.folder / "mariadb.cnf"
        options = {
            "datadir": self._data,
            "socket": self.socket,
            "pid-file": self.folder / "mariadb.pid",
            "bind-address": "127.0.0.1",
            "port": self.port,
            "init-file": self.folder / "users.sql",
            "tmpdir": self.folder,
            "max_connections": self._max_connections,
            "character-set-server": "utf8mb4",
            "innodb_flush_log_at_trx_commit": 1,
            "innodb_buffer_pool_size": f"{self._buffer_pool_mb}M",
            "sql_mode": "STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_CREATE_USER,NO_ENGINE_SUBSTITUTION",
        }
        lines = [
            "[mariadbd]",
            *(f"{name}={value}" for name, value in options.items()),
            "skip-name-resolve",
            "skip-log-bin",
        ]
        if os.geteuid() == 0:
            lines.append("user=root")
        write_private(config, "\n".join(lines) + "\n")
        write_private(self.folder / "users.sql", self._users())
        if not (self.folder / "installed").exists():
            self._install()
        return self._spawn(require(self.program), f"--defaults-file={config}")

    def _users(self) -> str:
        """One statement a line (an init file's form), run at each start."""
        who = f"'{_USER}'@'127.0.0.1'"
        statements = (
            "DELETE FROM mysql.global_priv WHERE user = '' OR (user = 'root' AND host <> 'localhost')",  # they have no password
            "FLUSH PRIVILEGES",
            f"ALTER USER 'root'@'localhost' IDENTIFIED BY '{self._password}'",
            f"CREATE USER IF NOT EXISTS {who} IDENTIFIED BY '{self._password}'",
            f"GRANT ALL PRIVILEGES ON *.* TO {who} WITH GRANT OPTION",
            f"CREATE DATABASE IF NOT EXISTS {DATABASE}",
        )
        return ";\n".join(statements) + ";\n"

    def _install(self) -> None:
        shutil.rmtree(self._data, ignore_errors=True)  # left by an installation that did not end
        done = subprocess.run(  # noqa: S603 - a fixed program, no shell
            [
                require("mariadb-install-db"),
                "--no-defaults",
                "--datadir=./data",  # it is a script that does not quote: a folder's name may have a space
                *(["--user=root"] if os.geteuid() == 0 else []),
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                "--skip-name-resolve",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.folder,
            check=False,
            timeout=120,
        )
        if done.returncode:
            raise ServerFailed(f"mariadb-install-db failed: {done.stdout.decode(errors='replace').strip()[-1_000:]}")
        (self.folder / "installed").touch()

    def _answers(self) -> bool:
        """It greets who connects, once it has run its init file; an error in the greeting's place (too many connections) is an answer too."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=1.0) as connection:
            greeting = connection.recv(5)
        return len(greeting) == 5 and (greeting[4] == 10 or greeting[4] == _ERROR_PACKET)
