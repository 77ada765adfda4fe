"""A demo page with a push API that remembers what it was asked."""

import json
from dataclasses import dataclass, field
from typing import Any

import httpx
from starlette.applications import Starlette

from ops.demo.context import Answer
from ops.demo.routes import DemoContext, demo_routes

TOKEN = "correct-horse-battery-staple"
HOST = "127.0.0.1:8080"


@dataclass
class FakeApi:
    """Accepts every message under a new id; `answers` overrides what is said of an id."""

    sent: list[bytes] = field(default_factory=list)
    recalled: list[str] = field(default_factory=list)
    refuse_with: Answer | None = None
    answers: dict[str, Answer] = field(default_factory=dict)

    async def send(self, body: bytes) -> Answer:
        if self.refuse_with is not None:
            return self.refuse_with
        self.sent.append(body)
        message_id = str(1000 + len(self.sent))
        self.answers[message_id] = (200, json.dumps({"id": message_id, "state": "accepted"}).encode())
        return 202, json.dumps({"id": message_id, "state": "accepted"}).encode()

    async def get(self, message_id: str) -> Answer:
        return self.answers.get(message_id, error(404, "not_found"))

    async def recall(self, message_id: str) -> Answer:
        self.recalled.append(message_id)
        return await self.get(message_id)


def error(status: int, code: str, at: str | None = None) -> Answer:
    return status, json.dumps({"error": {"code": code, "message": "…", "field": at, "retry": False}}).encode()


@dataclass
class Page:
    """The routes behind a client that speaks as the page does; `get(path, headers=…)` overrides."""

    api: FakeApi = field(default_factory=FakeApi)

    def __post_init__(self) -> None:
        self.context = DemoContext(
            token=TOKEN,
            app="demo",
            gateway_url="ws://127.0.0.1:8081/v1/connect",
            allowed_hosts={HOST, "localhost:8080"},
            mint=lambda device: f"jwt-of-{device}",
            send=self.api.send,
            get=self.api.get,
            recall=self.api.recall,
        )
        self.app = Starlette(routes=demo_routes(self.context))

    async def request(self, method: str, path: str, *, host: str = HOST, token: str | None = TOKEN, **more: Any) -> Any:
        headers = httpx.Headers(more.pop("headers", {}), encoding="utf-8")
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        transport = httpx.ASGITransport(app=self.app)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
            return await client.request(method, path, headers=headers, **more)
