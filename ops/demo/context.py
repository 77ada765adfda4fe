"""What the demo page needs of the process that it runs in. Knows no HTTP and none of the programs."""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field

Answer = tuple[int, bytes]
"""An HTTP status and a JSON body, as the push API gives them; the body of a 204 is empty."""


@dataclass(slots=True)
class DemoContext:
    """`taco up` fills this in. All fields are read at each request, so ports may be set once they are known.

    `send`, `get` and `recall` go to the push API's service object in the name of the app and answer as the API does, errors
    included; they don't raise for what a caller did wrong. `mint` signs a device token of an hour.
    """

    token: str = field(repr=False)
    app: str
    gateway_url: str  # ws://127.0.0.1:8081/v1/connect
    allowed_hosts: Collection[str]  # with port, lower case: {"127.0.0.1:8080", "localhost:8080"}
    mint: Callable[[str], str]
    send: Callable[[bytes], Awaitable[Answer]]
    get: Callable[[str], Awaitable[Answer]]
    recall: Callable[[str], Awaitable[Answer]]
