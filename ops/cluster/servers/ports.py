"""Loopback ports for servers that must come back on the one they had."""

import random
import socket

# Below the range from which the kernel takes ports for outgoing connections (ip_local_port_range starts at 32768 on Linux): a port of
# that range can be taken by somebody's connection while its server is down.
_FIRST, _LAST = 20_000, 32_000
_TRIES = 200


def free_port() -> int:
    """A port that nobody listens on. Random, so that several that look at the same time hardly ever meet."""
    for _ in range(_TRIES):
        port = random.randint(_FIRST, _LAST)  # noqa: S311 - not a secret
        if is_free(port):
            return port
    raise OSError(f"no free port between {_FIRST} and {_LAST} on 127.0.0.1")


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that linger don't count
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
