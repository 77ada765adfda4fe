"""Where devices come in: the listening socket of a node. It is opened, and shut without turning away who has knocked already."""

import asyncio
import errno
import math
import os
import socket
import struct
from collections.abc import Callable
from typing import Any

from push_core.errors import ConfigError
from push_gateway import handshake
from push_gateway.settings import GatewaySettings

LET_IN_S = 1.0  # for those who wait when the gate is shut
BLIND_TURNS = 100  # of the loop, where the kernel does not tell how many wait: one is accepted in each at least
_QUEUED_AT = 24  # of tcp_info: `tcpi_unacked`, which for a listener is the length of its accept queue (linux/tcp.h, net/ipv4/tcp.c)


class Gate:
    """`make` gives each connection its protocol."""

    def __init__(self, settings: GatewaySettings, make: Callable[[], asyncio.Protocol]) -> None:
        self._settings = settings
        self._make = make
        self._server: asyncio.Server | None = None
        self._port = settings.port
        self.url = ""
        """Where devices connect, known after the first `open`."""

    @property
    def is_open(self) -> bool:
        return self._server is not None

    async def open(self) -> None:
        """At the same port as before, if it was open once. Raises ConfigError with a sentence."""
        settings = self._settings
        try:
            self._server = await asyncio.get_running_loop().create_server(
                self._make,
                settings.host,
                self._port,
                backlog=settings.backlog,
                reuse_port=settings.reuse_port or None,
            )
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise ConfigError(
                    f"[gateway] port: {self._port} on {settings.host} is taken by another program; stop it or choose another port "
                    "(0 picks a free one)"
                ) from None
            why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
            raise ConfigError(
                f"[gateway] host and port: can't listen on {settings.host}:{self._port} ({why or error})"
            ) from None
        for listening in self._server.sockets:
            _give_up_in_time(listening, settings)
        host, self._port = self._server.sockets[0].getsockname()[:2]
        scheme = "ws" if settings.tls_cert is None else "wss"
        self.url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{self._port}{handshake.PATH}"

    async def shut(self) -> None:
        """Who waits in the kernel's queue is let in first: a listener that is closed resets them, also where others listen on the same
        port (SO_REUSEPORT). What comes between the last accept and the close is still reset, unless the kernel hands it to another
        listener (`sysctl net.ipv4.tcp_migrate_req=1`, Linux 5.14)."""
        server, self._server = self._server, None
        if server is None:
            return
        loop, turns = asyncio.get_running_loop(), 0
        end = loop.time() + LET_IN_S
        while loop.time() < end:
            waiting = max(map(queued, server.sockets))
            if waiting == 0 or (waiting < 0 and turns >= BLIND_TURNS):
                break
            turns += 1
            await asyncio.sleep(0)
        server.close()


def queued(listener: socket.socket) -> int:
    """Connections that are made and not accepted yet; -1 where that can't be known."""
    try:
        info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _QUEUED_AT + 4)
        return int(struct.unpack_from("=I", info, _QUEUED_AT)[0])
    except (AttributeError, OSError, struct.error):
        return -1


def _give_up_in_time(listening: Any, settings: GatewaySettings) -> None:
    """For the connections that come in by it, which inherit this (Linux): when the kernel gives up on a peer that acknowledges nothing, and
    how long it waits, after our close, for the FIN of one that answered it."""
    if settings.unacked_timeout_s and hasattr(socket, "TCP_USER_TIMEOUT"):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(settings.unacked_timeout_s * 1_000))
    if hasattr(socket, "TCP_LINGER2"):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_LINGER2, max(1, math.ceil(settings.close_linger_s)))
