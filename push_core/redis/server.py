"""One Redis server: a few connections, each with one exchange at a time: several commands in one write, their answers in order.

A connection is made when it is needed and dropped at any doubt, so a server that comes back is found by the next call. Who finds all
connections taken waits for one within its deadline; beyond a number of waiting calls further ones are refused.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import hiredis
from redis import exceptions as driver
from redis.asyncio.connection import Connection, SSLConnection

from push_core.errors import Overloaded, Unavailable
from push_core.redis import errors
from push_core.redis.place import Place

Args = tuple[str | bytes | int, ...]
WAITING_PER_CONNECTION = 64


class Server:
    """`replies` of `exchange` are values, or the driver's `ResponseError` where a command was answered with one."""

    def __init__(self, host: str, port: int, place: Place, *, sentinel: bool = False) -> None:
        self.host, self.port = host, port
        self.name = f"{'Sentinel' if sentinel else 'Redis'} at {f'[{host}]' if ':' in host else host}:{port}"
        self._who = f"{place.where}: {self.name}"
        self._timeout_s = place.timeout_s
        self._options: dict[str, Any] = {
            "host": host,
            "port": port,
            "socket_timeout": None,  # the deadline of an exchange is above all its steps
            "socket_connect_timeout": place.timeout_s,
            "protocol": 2,
        }
        if not sentinel:
            self._options |= {"db": place.db, "username": place.user, "password": place.password}
        elif place.sentinel_auth:
            self._options |= {"username": place.user, "password": place.password}
        if place.tls:
            self._options |= {"ssl_ca_certs": place.ca, "ssl_check_hostname": True}
        self._kind: type[Connection] = SSLConnection if place.tls else Connection
        self._turns = asyncio.Semaphore(place.connections)
        self._room = place.connections * WAITING_PER_CONNECTION
        self._free: list[Connection] = []
        self._closed = False

    async def exchange(self, commands: Sequence[Args], deadline: float) -> list[Any]:
        """Until `deadline`, in the loop's time. Raises Unavailable (Overloaded) when nothing was sent, DeadlineExceeded when the answer
        did not come; a server that hung up saying why did nothing."""
        if self._turns.locked() and self._room <= 0:
            raise Overloaded(f"{self._who}: too many calls wait for a connection")
        sent = False
        self._room -= 1
        try:
            async with asyncio.timeout_at(deadline):
                async with self._turns:
                    connection = await self._connected()
                    try:
                        sent = True
                        packed = [hiredis.pack_command(command) for command in commands]  # type: ignore[arg-type]  # it takes any number
                        await connection.send_packed_command(packed, check_health=False)
                        replies = [await _reply(connection) for _ in commands]
                    except BaseException:
                        await connection.disconnect(nowait=True)
                        raise
                    await self._give_back(connection)
                    return replies
        except (driver.RedisError, OSError) as error:  # TimeoutError is an OSError
            raise errors.lost(self._who, error) if sent else errors.unreachable(self._who, error) from None
        finally:
            self._room += 1

    def answered(self, error: driver.ResponseError) -> Unavailable:
        """What a program hears of a reply that is an error."""
        return errors.answered(self._who, error)

    async def close(self) -> None:
        """Calls under way end by themselves."""
        self._closed = True
        while self._free:
            await self._free.pop().disconnect(nowait=True)

    async def _connected(self) -> Connection:
        if self._closed:
            raise Unavailable(f"{self._who}: closed")
        while self._free:
            connection = self._free.pop()  # the one used last: the others may rest
            if connection.is_connected and not await connection.can_read():
                return connection
            await connection.disconnect(
                nowait=True
            )  # it was closed at the other end, or has an answer nobody asked for
        connection = self._kind(**self._options)
        try:
            await connection.connect()  # type: ignore[no-untyped-call]
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return connection

    async def _give_back(self, connection: Connection) -> None:
        if self._closed:
            await connection.disconnect(nowait=True)
        else:
            self._free.append(connection)


async def _reply(connection: Connection) -> Any:
    try:
        return await connection.read_response()
    except driver.ResponseError as error:
        return error
