"""The HTTP door: requests to methods of the one service object, results and errors to answers (docs/api.md).

A plain ASGI application: knows the contract's paths and shapes, no server and no framework. What it does not have is left to `other`, the
routes that the composition adds.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from typing import Any

import msgspec
import structlog

from push_api.complaints import Complaints
from push_api.deadlines import Deadlines
from push_api.decoding import decode, decode_batch, decode_message
from push_api.errors import body_of, problem_of, retry_after_s
from push_api.models import Accepted, Health, Registration, Result, Results, TopicList
from push_api.operations import NotAllowed, Operation, match
from push_api.requests import (
    Gone,
    Receive,
    Scope,
    Send,
    bounded,
    idempotency_key,
    page_of,
    pick_headers,
    query_of,
    read_body,
)
from push_api.service import PushService
from push_api.settings import ApiSettings
from push_api.traceparent import accept_or_make
from push_api.validation import check_name, check_registration, check_topics
from push_core.errors import DeadlineExceeded, Overloaded, TacoError, Unavailable, UserError
from push_core.metrics.catalogue import Metric
from push_core.metrics.port import Metrics
from push_core.models import App

log = structlog.get_logger(__name__)

ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
_encode = msgspec.json.Encoder().encode
_JSON = (b"content-type", b"application/json")


class Call(msgspec.Struct, frozen=True):
    """One request, read: what a handler gets."""

    app: App
    name: str
    body: bytes
    key: str | None
    query: dict[str, str]
    traceparent: str


class HttpDoor:
    def __init__(
        self,
        service: PushService,
        metrics: Metrics,
        complaints: Complaints,
        settings: ApiSettings,
        *,
        openapi: bytes,
        other: ASGIApp,
    ) -> None:
        self._service = service
        self._complaints = complaints
        self._metrics = metrics
        self._settings = settings
        self._openapi = openapi
        self._other = other
        self._in_flight = 0
        self._reading = Deadlines(settings.body_timeout_s)
        self._working = Deadlines(settings.request_timeout_s)
        self._handlers: dict[str, Callable[[Call], Awaitable[bytes]]] = {
            "send": self._send,
            "send_batch": self._send_batch,
            "get_message": self._get_message,
            "recall": self._recall,
            "put_device": self._put_device,
            "get_device": self._get_device,
            "forget_device": self._forget_device,
            "get_presence": self._get_presence,
            "disconnect": self._disconnect,
            "block": self._block,
            "unblock": self._unblock,
            "subscribe": self._subscribe,
            "unsubscribe": self._unsubscribe,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        name, trace = "unknown", ""
        headers: list[tuple[bytes, bytes]] = [_JSON]
        self._in_flight += 1
        try:
            found = match(scope["method"], scope["raw_path"])
            if found is None or found[0].needs_key:  # whether the process lives and is ready is told always
                if self._in_flight > self._settings.max_in_flight:
                    raise Overloaded("too many requests are under way")
                self._service.admission.knock(_address(scope))
            if found is None:
                status = await self._elsewhere(scope, receive, send)
                self._metrics.count(Metric.API_REQUESTS, method=name, status=str(status))
                return
            operation, path_name = found
            name = operation.name
            picked = pick_headers(scope)
            trace = accept_or_make(picked.get(b"traceparent"))
            status, body = await self._answer(operation, path_name, scope, receive, picked, trace)
        except Gone:
            self._metrics.count(Metric.API_REQUESTS, method=name, status="gone")
            return
        except asyncio.CancelledError:
            # The server is being stopped and waited long enough. Swallowed on purpose: this is the top of the task, and the caller
            # gets an answer.
            status, body = _refused(Unavailable("the server is stopping"), headers)
        except TacoError as error:
            self._complaints.say(error, name, trace)
            status, body = _refused(error, headers)
        except Exception as error:
            log.exception("request failed", method=name, traceparent=trace)
            status, body = _refused(error, headers)
        finally:
            self._in_flight -= 1
        self._metrics.count(Metric.API_REQUESTS, method=name, status=str(status))
        if trace:
            headers.append((b"traceparent", trace.encode()))
        if status == 204:
            headers.remove(_JSON)
        else:
            headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _elsewhere(self, scope: Scope, receive: Receive, send: Send) -> int:
        """A route that is not of the contract, under the same bounds. Its errors end here like all others, as far as it hasn't answered yet."""
        status = 0
        settings = self._settings

        async def noting(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            status = status or message["status"]
            await send(message)

        try:
            async with asyncio.timeout(settings.body_timeout_s + settings.request_timeout_s):
                await self._other(scope, bounded(receive, settings.max_body_bytes), noting)
        except TimeoutError:
            if not status:
                raise DeadlineExceeded("not done in time") from None
        except Exception as error:
            if not status:
                raise
            if not isinstance(error, UserError):
                log.exception("request failed after its answer began", path=scope["path"])
        return status

    async def _answer(
        self,
        operation: Operation,
        name: str,
        scope: Scope,
        receive: Receive,
        headers: dict[bytes, str],
        trace: str,
    ) -> tuple[int, bytes]:
        query = query_of(scope, operation.query)
        settings = self._settings
        if not operation.needs_key:
            return await self._open_to_all(operation)
        body, takes_body, reading = b"", operation.request is not None, False
        try:
            # What the caller is given to send its request, then what we give ourselves.
            with (self._reading if takes_body else self._working).one() as deadline:
                app = await self._service.auth.app_of(headers.get(b"authorization"))
                admission = self._service.admission
                admission.recall_refusal(app)
                if takes_body:
                    reading = True
                    body = await read_body(receive, headers, limit=settings.max_body_bytes)
                    reading = False
                    deadline.start_over(self._working)
                call = Call(app, name, body, idempotency_key(headers), query, trace)
                with admission.visit():
                    if not operation.sends:
                        await admission.request(app)
                    return operation.status, await self._handlers[operation.name](call)
        except TimeoutError:
            if reading:
                raise UserError(
                    f"the body did not arrive within {settings.body_timeout_s:g} s", code="request_timeout"
                ) from None
            raise DeadlineExceeded(f"not done within {settings.request_timeout_s:g} s") from None

    async def _open_to_all(self, operation: Operation) -> tuple[int, bytes]:
        if operation.name == "openapi":
            return 200, self._openapi
        if operation.name == "readyz":
            await self._service.readiness.check()
        return 200, _encode(Health("ok"))

    async def _send(self, call: Call) -> bytes:
        accepted = await self._service.send(
            call.app, partial(decode_message, call.body), key=call.key, traceparent=call.traceparent
        )
        return _encode(Accepted(str(accepted)))

    async def _send_batch(self, call: Call) -> bytes:
        if call.key is not None:
            raise UserError(
                "a batch takes an idempotency_key in each message, not in the header",
                code="invalid",
                field="Idempotency-Key",
            )
        outcomes = await self._service.send_batch(
            call.app, partial(decode_batch, call.body), traceparent=call.traceparent
        )
        return _encode(
            Results([Result(str(one)) if isinstance(one, int) else Result(error=problem_of(one)) for one in outcomes])
        )

    async def _get_message(self, call: Call) -> bytes:
        after, limit = page_of(call.query)
        return _encode(await self._service.get_message(call.app, call.name, after=after, limit=limit))

    async def _recall(self, call: Call) -> bytes:
        return _encode(await self._service.recall(call.app, call.name, traceparent=call.traceparent))

    async def _put_device(self, call: Call) -> bytes:
        record = check_registration(decode(call.body, Registration))
        return _encode(await self._service.devices.put(call.app.name, _device(call), record))

    async def _get_device(self, call: Call) -> bytes:
        return _encode(await self._service.devices.get(call.app.name, _device(call)))

    async def _forget_device(self, call: Call) -> bytes:
        await self._service.devices.forget(call.app.name, _device(call))
        return b""

    async def _get_presence(self, call: Call) -> bytes:
        return _encode(await self._service.devices.presence(call.app.name, _device(call)))

    async def _disconnect(self, call: Call) -> bytes:
        return _encode(await self._service.devices.disconnect(call.app.name, _device(call)))

    async def _block(self, call: Call) -> bytes:
        return _encode(await self._service.devices.block(call.app.name, _device(call)))

    async def _unblock(self, call: Call) -> bytes:
        return _encode(await self._service.devices.unblock(call.app.name, _device(call)))

    async def _subscribe(self, call: Call) -> bytes:
        topics = check_topics(decode(call.body, TopicList))
        return _encode(await self._service.devices.subscribe(call.app.name, _device(call), topics))

    async def _unsubscribe(self, call: Call) -> bytes:
        topics = check_topics(decode(call.body, TopicList))
        return _encode(await self._service.devices.unsubscribe(call.app.name, _device(call), topics))


def not_found(path: str) -> UserError:
    return UserError(f"there is nothing at {path[:200]}; /openapi.json lists what there is", code="not_found")


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else ""


def _device(call: Call) -> str:
    return check_name(call.name, "device")


def _refused(error: BaseException, headers: list[tuple[bytes, bytes]]) -> tuple[int, bytes]:
    """Status and body of a refusal; what belongs in the headers is added there."""
    status = error.status if isinstance(error, TacoError) else 500
    if (wait := retry_after_s(error)) is not None:
        headers.append((b"retry-after", b"%d" % wait))
    if status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="taco"'))
    if isinstance(error, NotAllowed):
        headers.append((b"allow", error.allow.encode()))
    return status, body_of(error)
