"""A private Redis. It keeps nothing on disk, as Taco expects no more of it: a restart comes up empty."""

import socket
import subprocess

from ops.cluster.servers.base import Server, require
from ops.demo_file import write_private


class RedisServer(Server):
    name = "redis"
    program = "redis-server"
    package = "redis-server"

    @property
    def dsn(self) -> str:
        return f"redis://:{self._password}@127.0.0.1:{self.port}/0"

    def _launch(self) -> subprocess.Popen[bytes]:
        config = self.folder / "redis.conf"
        lines = (
            "bind 127.0.0.1",
            f"port {self.port}",
            f"requirepass {self._password}",
            f'dir "{self.folder}"',
            "daemonize no",
            "appendonly no",
            'save ""',
            "maxmemory-policy noeviction",
            "enable-debug-command local",  # DEBUG SLEEP, for drills
        )
        write_private(config, "\n".join(lines) + "\n")
        return self._spawn(require(self.program), str(config))

    def _answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), timeout=1.0) as connection:
            connection.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
            answer = b""
            while answer.count(b"\r\n") < 2:
                more = connection.recv(256)
                if not more:
                    return False
                answer += more
        return answer == b"+OK\r\n+PONG\r\n"
