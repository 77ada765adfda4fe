"""The HTTP server under the API: uvicorn's protocol in our event loop, under our life cycle and our bounds.

uvicorn brings HTTP/1.1 (on httptools), its server class is left out: that one takes the process's signals and polls while it stops. A connection is in
`http_connection.py`. Knows nothing of messages.
"""

import asyncio
import errno
import socket
from collections.abc import Sequence
from email.utils import formatdate

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from uvicorn.server import ServerState

from push_api.asgi import ASGIApp, not_found
from push_api.errors import body_of
from push_api.http_connection import BoundedHttp
from push_api.settings import ApiSettings
from push_core.errors import CODES, ConfigError, TacoError, UserError
from push_core.limits.addresses import AddressCounts

log = structlog.get_logger(__name__)

Routes = Sequence[BaseRoute]
"""What a composition may add to the API's paths."""


class HttpServer:
    """One listening socket. `start` raises ConfigError when the address can't be used."""

    def __init__(self, app: ASGIApp, settings: ApiSettings, addresses: AddressCounts) -> None:
        self._settings = settings
        self._addresses = addresses
        self._config = uvicorn.Config(
            app,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=settings.keep_alive_s,  # type: ignore[arg-type]  # for call_later, which takes parts of seconds
        )
        self._state = ServerState()
        self._server: asyncio.Server | None = None
        self._date: asyncio.TimerHandle | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """Known after `start`."""
        host = self._settings.host
        return f"http://[{host}]:{self._port}" if ":" in host else f"http://{host}:{self._port}"

    async def start(self) -> None:
        listener = await listen(self._settings.host, self._settings.port)
        self._port = listener.getsockname()[1]
        self._config.load()
        self._tell_date()
        self._server = await asyncio.get_running_loop().create_server(self._connection, sock=listener)

    async def stop(self, grace_s: float) -> None:
        """Take no new connections, finish the requests under way within `grace_s` seconds, end the others."""
        if self._server is None:
            return
        loop = asyncio.get_running_loop()
        end = loop.time() + grace_s
        self._server.close()
        for connection in list(self._state.connections):
            connection.shutdown()  # at once if idle, else after the answer
        while self._state.tasks and (left := end - loop.time()) > 0:
            await asyncio.wait(set(self._state.tasks), timeout=left, return_when=asyncio.FIRST_COMPLETED)
        if late := set(self._state.tasks):
            log.warning("requests not finished in time are ended", requests=len(late))
            for task in late:
                task.cancel()
            await asyncio.wait(late, timeout=1.0)  # each answers 503
        for connection in list(self._state.connections):
            connection.transport.close()
        if self._date is not None:
            self._date.cancel()

    def _connection(self) -> asyncio.Protocol:
        return BoundedHttp(self._settings, self._addresses, config=self._config, server_state=self._state, app_state={})

    def _tell_date(self) -> None:
        """The Date header (RFC 9110 §6.6.1), made once a second."""
        self._state.default_headers = [(b"date", formatdate(usegmt=True).encode())]
        self._date = asyncio.get_running_loop().call_later(1.0, self._tell_date)


async def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises ConfigError with a sentence."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setblocking(False)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(2048)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(
                f"[api] port: {port} on {host} is taken by another program; stop it or choose another port (0 picks a free one)"
            ) from None
        raise ConfigError(f"[api] host and port: can't listen on {host}:{port} ({error.strerror or error})") from None
    return listener


def fallback(routes: Routes) -> ASGIApp:
    """The routes that the composition adds, and the contract's 404 for everything else. They have no more rights than any other caller."""

    async def refused(request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException):
            body, status, headers = body_of(_as_ours(error, request.url.path)), error.status_code, error.headers
        else:
            body, status, headers = body_of(error), error.status if isinstance(error, TacoError) else 500, None
        return Response(body, status, headers, "application/json")

    return Starlette(routes=list(routes), exception_handlers={HTTPException: refused, Exception: refused})


def _as_ours(error: HTTPException, path: str) -> TacoError:
    if error.status_code == 404:
        return not_found(path)
    for code, meaning in CODES.items():
        if meaning.status == error.status_code:
            return UserError(error.detail, code=code)
    return UserError(error.detail, code="bad_request" if error.status_code < 500 else "internal")
