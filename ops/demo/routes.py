"""The demo page over HTTP: its files, a device token, and the push API under the page's own token.

    routes = demo_routes(DemoContext(...))      # to be added to the API's application, under `taco up` only

Must not know how messages are handled: it hands bodies to the context and answers back.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ops.demo.context import Answer, DemoContext
from ops.demo.files import Files, page_files, sdk_files
from ops.demo.guard import bearer_refusal, refusal
from ops.demo.recent import LIMIT, Recent, summarise
from push_core.errors import CODES
from push_core.ids import parse_id

__all__ = ["DemoContext", "demo_routes"]

MAX_BODY = 65_536
MAX_DEVICE = 128
_LOOKUPS = 8  # at a time: the page must not crowd out the API beside it
_JSON = "application/json"

Endpoint = Callable[[Request], Awaitable[Response]]


def demo_routes(context: DemoContext) -> list[BaseRoute]:
    """The routes of the page, all below `/demo`."""
    demo = _Demo(context)
    page, sdk = page_files(), sdk_files()

    def route(path: str, endpoint: Endpoint, method: str, *, public: bool = False) -> Route:
        return Route(path, demo.guarded(endpoint, public=public), methods=[method])

    return [
        route("/demo", demo.file(page, "index.html"), "GET", public=True),
        route("/demo/static/{name}", demo.file(page), "GET", public=True),
        route("/demo/sdk/{name}", demo.file(sdk), "GET", public=True),
        route("/demo/api/config", demo.config, "GET"),
        route("/demo/api/token", demo.device_token, "POST"),
        route("/demo/api/messages", demo.send, "POST"),
        route("/demo/api/messages", demo.messages, "GET"),
        route("/demo/api/messages/{id}", demo.message, "GET"),
        route("/demo/api/messages/{id}", demo.recall, "DELETE"),
    ]


class _Demo:
    def __init__(self, context: DemoContext) -> None:
        self._context = context
        self._recent = Recent()
        self._lookups = asyncio.Semaphore(_LOOKUPS)

    def guarded(self, endpoint: Endpoint, *, public: bool) -> Endpoint:
        """Nothing is read or done before the request was found to be the page's own."""

        async def answer(request: Request) -> Response:
            refused = refusal(request.headers, self._context.allowed_hosts)
            if refused is None and not public:
                refused = bearer_refusal(request.headers, self._context.token)
            response = await endpoint(request) if refused is None else _refuse(*refused)
            response.headers.update(self._headers())
            return response

        return answer

    def _headers(self) -> dict[str, str]:
        gateway = urlsplit(self._context.gateway_url)
        policy = (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self'",
            f"connect-src 'self' {gateway.scheme}://{gateway.netloc}",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
        )
        return {
            "Content-Security-Policy": "; ".join(policy),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
        }

    def file(self, files: Files, fixed: str | None = None) -> Endpoint:
        async def answer(request: Request) -> Response:
            found = files.read(fixed or request.path_params["name"])
            if found is None:
                return _refuse(404, "not_found", "The demo page has no such file.")
            return Response(found[0], media_type=found[1])

        return answer

    async def config(self, _request: Request) -> Response:
        return _json(200, {"app": self._context.app, "gateway": self._context.gateway_url})

    async def device_token(self, request: Request) -> Response:
        body = await _object(request)
        if isinstance(body, Response):
            return body
        device = body.get("device")
        if device is None:
            return _refuse(422, "missing_field", "`device` is missing.", "device")
        if not isinstance(device, str) or not 1 <= len(device) <= MAX_DEVICE or not device.isprintable():
            return _refuse(422, "invalid", f"`device` must be a name of 1 to {MAX_DEVICE} characters.", "device")
        return _json(200, {"device": device, "token": self._context.mint(device)})

    async def send(self, request: Request) -> Response:
        body = await _body(request)
        if isinstance(body, Response):
            return body
        status, answer = await self._context.send(body)
        if status == 202:
            message_id = msgspec.json.decode(answer)["id"]
            self._recent.add(message_id, summarise(msgspec.json.decode(body), time.time_ns() // 1_000_000))
        return _answer((status, answer))

    async def messages(self, request: Request) -> Response:
        """The states of the messages that `id` names (100 at most), or of those last sent through the page; newest first.

        `{"messages": [{"id", "summary": {…} | null, "message": {…} | null, "error": {…} | null}]}`. Each is looked up by itself: one
        that can't be had spoils no other, and one that the app doesn't have is left out.
        """
        ids = request.query_params.getlist("id") or list(self._recent)
        if len(ids) > LIMIT:
            return _refuse(422, "too_many", f"More than {LIMIT} ids.", "id")
        if any(parse_id(message_id) is None for message_id in ids):
            return _refuse(422, "invalid", "`id` must be a message id.", "id")
        found = await asyncio.gather(*map(self._look_up, dict.fromkeys(ids)))
        return _json(200, {"messages": [entry for entry in found if entry is not None]})

    async def _look_up(self, message_id: str) -> dict[str, Any] | None:
        async with self._lookups:
            status, answer = await self._context.get(message_id)
        if status == 404:
            return None
        body = msgspec.json.decode(answer)
        return {
            "id": message_id,
            "summary": self._recent.get(message_id),
            "message": body if status == 200 else None,
            "error": None if status == 200 else body["error"],
        }

    async def message(self, request: Request) -> Response:
        return await self._of_one(request, self._context.get)

    async def recall(self, request: Request) -> Response:
        return await self._of_one(request, self._context.recall)

    async def _of_one(self, request: Request, do: Callable[[str], Awaitable[Answer]]) -> Response:
        message_id = request.path_params["id"]
        if parse_id(message_id) is None:
            return _refuse(404, "not_found", "No such message in this app.")
        return _answer(await do(message_id))


async def _body(request: Request) -> bytes | Response:
    """The request's body, read no further than the limit."""
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY:
                return _refuse(413, "too_large", f"The body is larger than {MAX_BODY} bytes.")
    except ClientDisconnect:  # a closed tab is no fault of ours; nobody reads this
        return _refuse(400, "bad_request", "The body did not come whole.")
    return bytes(body)


async def _object(request: Request) -> dict[str, Any] | Response:
    body = await _body(request)
    if isinstance(body, Response):
        return body
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        return _refuse(400, "bad_json", "The body is not a JSON object.")


def _answer(answer: Answer) -> Response:
    status, body = answer
    return Response(body, status, media_type=_JSON if body else None)


def _json(status: int, value: Any) -> Response:
    return Response(msgspec.json.encode(value), status, media_type=_JSON)


def _refuse(status: int, code: str, message: str, field: str | None = None) -> Response:
    error = {"code": code, "message": message, "field": field, "retry": CODES[code].retry}
    return _json(status, {"error": error})
