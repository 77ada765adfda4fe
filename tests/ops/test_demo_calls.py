"""The demo page's calls reach the API as any caller's do, and an API that is gone is an answer too."""

import json
import socket

from ops.demo_calls import DemoCalls


async def test_without_an_api_the_outcome_is_unknown_and_said_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    calls = DemoCalls("demo.k")
    calls.use(f"http://127.0.0.1:{port}")  # nobody listens there any more
    for answer in (await calls.send(b"{}"), await calls.get("1"), await calls.recall("1")):
        status, body = answer
        assert status == 503
        assert json.loads(body)["error"]["retry"] is True
    await calls.close()
