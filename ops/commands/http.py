"""One request to the push API, for commands: an answer as a value, or a sentence on what went wrong."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from ops.commands.options import Server
from ops.commands.output import CommandFailed, fail

TIMEOUT_S = 10.0


def path_of(*parts: str, verb: str = "") -> str:
    """`path_of("devices", "a b", verb="block")` is `/v1/devices/a%20b:block`."""
    return "/v1/" + "/".join(quote(part, safe="") for part in parts) + (f":{verb}" if verb else "")


def call(
    server: Server,
    method: str,
    path: str,
    *,
    body: Any = None,
    query: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Any:
    """The answer's JSON; None for an empty one. Never prints the key."""
    import httpx

    try:
        answer = httpx.request(
            method,
            server.api + path,
            json=body,
            params=dict(query or {}),
            headers={"Authorization": f"Bearer {server.key}", **(headers or {})},
            timeout=TIMEOUT_S,
        )
    except httpx.TimeoutException:
        fail(f"{server.api} did not answer within {TIMEOUT_S:.0f} s")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        fail(f"{server.api} can't be reached: {error}")
    if answer.is_success:
        return answer.json() if answer.content else None
    try:
        refusal = answer.json()["error"]
        place = f" (field {refusal['field']})" if refusal.get("field") else ""
        unknown = "; whether it was done is unknown" if answer.status_code >= 500 and method != "GET" else ""
        sentence = f"{answer.status_code} {refusal['code']}: {refusal['message']}{place}{unknown}"
    except (ValueError, KeyError, TypeError):
        sentence = f"{server.api} answered {answer.status_code}; is this a push API?"
    raise CommandFailed(sentence)
