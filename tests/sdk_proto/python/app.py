"""An application around a client, for tests that look at what it was told."""

import asyncio
from typing import Any

from sdk_proto.python import Client, Options, Problem, Push, Status
from sdk_proto.wire import frames as f
from tests.sdk_proto.python.fake_gateway import FakeGateway


class App:
    """An application that writes down what it is told."""

    def __init__(self, gateway: FakeGateway, **options: Any) -> None:
        self.shown: asyncio.Queue[Push] = asyncio.Queue()
        self.recalled: asyncio.Queue[int] = asyncio.Queue()
        self.problems: asyncio.Queue[Problem] = asyncio.Queue()
        self.configs: asyncio.Queue[f.Config] = asyncio.Queue()
        self.statuses: list[Status] = []
        self._changed = asyncio.Event()
        defaults: dict[str, Any] = {"url": gateway.url, "app": "courier", "device": "d-1", "token": "token"}
        self.client = Client(
            Options(**(defaults | options)),
            self.on_push,
            on_recall=self.recalled.put_nowait,
            on_status=self.on_status,
            on_config=self.configs.put_nowait,
            on_problem=self.problems.put_nowait,
            source=lambda: 0.5,
        )

    async def on_push(self, push: Push) -> None:
        self.shown.put_nowait(push)

    def on_status(self, status: Status) -> None:
        self.statuses.append(status)
        self._changed.set()

    async def until(self, state: str) -> None:
        while self.client.status.state != state:
            self._changed.clear()
            await self._changed.wait()

    @property
    def shown_ids(self) -> list[int]:
        return [self.shown.get_nowait().id for _ in range(self.shown.qsize())]
