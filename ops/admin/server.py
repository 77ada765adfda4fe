"""The admin port of one process: /healthz (it answers), /readyz (it takes work, or why not), /metrics, guarded pages under /debug/, and what
may be asked of the process there by POST.

It lives beside work that matters more: what a request may cost is bounded, and no request takes the process down.
"""

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog

from ops.admin.http import Answer, Request, ok, parse, refusal, render
from ops.admin.settings import AdminSettings
from push_core.errors import ConfigError

log = structlog.get_logger(__name__)

KEY_HEADER = "taco-cluster-key"
GUARDED = "/debug/"

Page = Callable[[Mapping[str, str]], Awaitable[Any]]
"""Query in, a value for JSON out. Raises ValueError with a sentence for a query that makes no sense."""


class AdminServer:
    """`host` and `port` as in the settings (0 picks a free one; the caller leaves the server out for -1).

    `ready` returns why the process takes no work, a line each; none: it is ready. `exposition` gives the text of /metrics and its content
    type, from a thread. `pages` are by path; those under /debug/ ask for `key` in the header `taco-cluster-key`; without a key nobody gets in.
    `actions` are asked for with POST and change something: they all are under /debug/.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        key: str | None,
        ready: Callable[[], Awaitable[list[str]]],
        exposition: Callable[[], tuple[bytes, str] | None] = lambda: None,
        pages: Mapping[str, Page] | None = None,
        actions: Mapping[str, Page] | None = None,
        settings: AdminSettings | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._key = (key or "").encode()
        self._ready = ready
        self._exposition = exposition
        self._pages: dict[str, Page] = {}
        self._actions: dict[str, Page] = {}
        self.add(pages or {}, actions or {})
        self._settings = settings or AdminSettings()
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    def add(self, pages: Mapping[str, Page], actions: Mapping[str, Page]) -> None:
        """More of them, also while it serves. Raises ValueError for an action that is not guarded."""
        for path in actions:
            if not path.startswith(GUARDED):
                raise ValueError(f"{path} changes something and is not under {GUARDED}")
        self._pages.update(pages)
        self._actions.update(actions)

    @property
    def address(self) -> tuple[str, int]:
        """Known after `start`."""
        if self._server is None:
            raise RuntimeError("not started")
        host, port = self._server.sockets[0].getsockname()[:2]
        return host, port

    async def start(self) -> None:
        """Raises ConfigError when the port can't be had."""
        try:
            self._server = await asyncio.start_server(
                self._connected, self._host, self._port, limit=self._settings.request_bytes
            )
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or error
            raise ConfigError(f"[admin] port: cannot listen on {self._host}:{self._port} ({why})") from None

    async def stop(self) -> None:
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        connections = list(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await server.wait_closed()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= self._settings.connections:
            writer.write(render(refusal(503, "busy", "too many connections to the admin port")))
            writer.close()
            return
        connection = asyncio.get_running_loop().create_task(self._serve(reader, writer), name="admin.connection")
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(self._settings.request_s):
                head = await reader.readuntil(b"\r\n\r\n")
            request = parse(head)
            answer = await self.answer(request)
            writer.write(render(answer, head_only=request is not None and request.method == "HEAD"))
            async with asyncio.timeout(self._settings.request_s):
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # who does not ask properly, or does not listen, gets no answer
        finally:
            writer.close()

    async def answer(self, request: Request | None) -> Answer:
        """Never raises: what goes wrong in a page is its answer."""
        if request is None:
            return refusal(400, "bad_request", "this is not HTTP/1.1")
        timeout_s = self._settings.debug_s if request.path.startswith(GUARDED) else self._settings.answer_s
        try:
            async with asyncio.timeout(timeout_s):
                return await self._answer(request)
        except TimeoutError:
            return refusal(503, "deadline", f"no answer within {timeout_s:g} s")
        except Exception:  # the supervised edge: a page's fault is not the process's
            log.exception("a page of the admin port failed", path=request.path)
            return refusal(500, "internal", "this page failed; the log says how")

    async def _answer(self, request: Request) -> Answer:
        path = request.path
        if path.startswith(GUARDED) and not self._may_enter(request):
            return refusal(401, "unauthorized", f"header {KEY_HEADER}: the cluster key is asked for")
        page, action = self._pages.get(path), self._actions.get(path)
        if page is None and action is None and path not in ("/healthz", "/readyz", "/metrics"):
            return refusal(404, "not_found", f"{path[:100]} is not a page of the admin port")
        if action is not None and request.method == "POST":
            page = action
        elif action is not None and page is None:
            return refusal(405, "method_not_allowed", "this is asked for with POST", Allow="POST")
        elif request.method not in ("GET", "HEAD"):
            return refusal(405, "method_not_allowed", "pages are read with GET", Allow="GET, HEAD")
        if page is not None:
            try:
                return ok(await page(request.query))
            except ValueError as error:
                return refusal(400, "bad_request", str(error))
        if path == "/readyz":
            return await self._readyz()
        return await self._metrics() if path == "/metrics" else ok({"ok": True})

    def _may_enter(self, request: Request) -> bool:
        shown = request.headers.get(KEY_HEADER, "").encode("latin-1")
        return bool(self._key) and hmac.compare_digest(shown, self._key)

    async def _readyz(self) -> Answer:
        reasons = await self._ready()
        if not reasons:
            return ok({"ready": True})
        return Answer(503, ok({"ready": False, "reasons": reasons}).body)

    async def _metrics(self) -> Answer:
        # Thousands of lines take milliseconds to write: in a thread they hold up nobody for longer than a switch.
        exposition = await asyncio.to_thread(self._exposition)
        if exposition is None:
            return refusal(404, "not_found", '[stores] metrics: only "prometheus://" is read here')
        return Answer(200, *exposition)
