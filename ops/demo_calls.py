"""The demo page's way to the push API: a caller like any other, over loopback with the app's key, so that the page shows what callers get."""

import httpx

from ops.demo.context import Answer

TIMEOUT_S = 10.0
CONNECTIONS = 8

_NO_ANSWER = b'{"error":{"code":"unavailable","message":"The API did not answer.","field":null,"retry":true}}'


class DemoCalls:
    """`send`, `get` and `recall` of a DemoContext. `use` says where the API is, once it is known."""

    def __init__(self, key: str) -> None:
        self._http = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
            timeout=TIMEOUT_S,
            limits=httpx.Limits(max_connections=CONNECTIONS),
            trust_env=False,  # a proxy has no business between two parts of one process
        )
        self._api = ""

    def use(self, api: str) -> None:
        self._api = api

    async def send(self, body: bytes) -> Answer:
        return await self._call("POST", "/v1/messages", body)

    async def get(self, message_id: str) -> Answer:
        return await self._call("GET", f"/v1/messages/{message_id}")

    async def recall(self, message_id: str) -> Answer:
        return await self._call("DELETE", f"/v1/messages/{message_id}")

    async def close(self) -> None:
        await self._http.aclose()

    async def _call(self, method: str, path: str, body: bytes | None = None) -> Answer:
        """503 when there is no answer: whether the message was accepted is unknown then."""
        try:
            answer = await self._http.request(method, self._api + path, content=body)
        except httpx.HTTPError:
            return 503, _NO_ANSWER
        return answer.status_code, answer.content
