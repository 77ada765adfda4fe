import json

import pytest
from starlette.requests import Request

from ops.demo import routes
from ops.demo.recent import LIMIT
from ops.demo.routes import MAX_BODY
from tests.ops.demo.support import Page, error

API_PATHS = [
    ("GET", "/demo/api/config"),
    ("POST", "/demo/api/token"),
    ("POST", "/demo/api/messages"),
    ("GET", "/demo/api/messages"),
    ("GET", "/demo/api/messages/1001"),
    ("DELETE", "/demo/api/messages/1001"),
]
PUBLIC_PATHS = ["/demo", "/demo/static/demo.js", "/demo/static/demo.css", "/demo/sdk/index.js"]


@pytest.fixture
def page() -> Page:
    return Page()


# ── who may ask ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("method", "path"), API_PATHS)
@pytest.mark.parametrize("token", [None, "", "wrong", "correct-horse-battery-stapleX", "ключ"])
async def test_without_the_right_token_nothing_is_done(page: Page, method: str, path: str, token: str | None) -> None:
    answer = await page.request(method, path, token=token, content=b"{}")
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "unauthorized"
    assert not page.api.sent
    assert not page.api.recalled


@pytest.mark.parametrize("path", [*PUBLIC_PATHS, *sorted({path for method, path in API_PATHS if method == "GET"})])
@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1", "127.0.0.1:9", "localhost:80"])
async def test_a_foreign_host_name_is_refused_before_the_token_is_looked_at(page: Page, path: str, host: str) -> None:
    answer = await page.request("GET", path, host=host)
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "forbidden"


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "https://127.0.0.1:8080", "http://localhost:8080", "null", "http://127.0.0.1"]
)
async def test_another_origin_is_refused(page: Page, origin: str) -> None:
    answer = await page.request("POST", "/demo/api/messages", headers={"Origin": origin}, content=b"{}")
    assert answer.status_code == 403
    assert answer.json()["error"] == {
        "code": "forbidden",
        "message": "The demo page answers its own page, no other origin.",
        "field": None,
        "retry": False,
    }
    assert not page.api.sent


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:8080", "LOCALHOST:8080"])
async def test_the_pages_own_origin_is_answered_by_each_of_its_names(page: Page, host: str) -> None:
    answer = await page.request("GET", "/demo/api/config", host=host, headers={"Origin": f"http://{host.lower()}"})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("path", "token"), [(path, None) for path in PUBLIC_PATHS] + [("/demo/api/config", "wrong"), ("/demo/static/x", "")]
)
async def test_every_answer_tells_the_browser_to_be_strict(page: Page, path: str, token: str | None) -> None:
    headers = (await page.request("GET", path, token=token)).headers
    policy = headers["content-security-policy"].split("; ")
    assert policy[0] == "default-src 'none'"
    assert "script-src 'self'" in policy
    assert "connect-src 'self' ws://127.0.0.1:8081" in policy
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


# ── files ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/demo", "text/html; charset=utf-8"),
        ("/demo/static/demo.js", "text/javascript; charset=utf-8"),
        ("/demo/static/demo.css", "text/css; charset=utf-8"),
        ("/demo/static/icon.svg", "image/svg+xml"),
        ("/demo/sdk/client.js", "text/javascript; charset=utf-8"),
    ],
)
async def test_the_page_and_the_client_are_served_to_anybody_on_this_machine(page: Page, path: str, kind: str) -> None:
    answer = await page.request("GET", path, token=None)
    assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
    assert answer.content


@pytest.mark.parametrize(
    "path",
    [
        "/demo/static/nothing.js",
        "/demo/static/package.json",
        "/demo/static/..%2froutes.py",
        "/demo/static/%2e%2e%2froutes.py",
        "/demo/sdk/__init__.py",
        "/demo/sdk/README.md",
    ],
)
async def test_nothing_else_is_served(page: Page, path: str) -> None:
    assert (await page.request("GET", path)).status_code == 404


async def test_the_page_fetches_nothing_from_outside_and_runs_no_inline_script(page: Page) -> None:
    for path in ("/demo", "/demo/static/demo.css", "/demo/static/demo.js"):
        text = (await page.request("GET", path)).text
        assert "//" not in text.replace("http://www.w3.org/2000/svg", "") or path.endswith(".js")
        assert "https:" not in text
    html = (await page.request("GET", "/demo")).text
    assert html.count("<script") == 1
    assert '<script type="module" src="/demo/static/demo.js"></script>' in html
    assert "style=" not in html
    assert "onclick" not in html


async def test_the_page_has_no_secret_in_it(page: Page) -> None:
    for path in PUBLIC_PATHS:
        assert page.context.token not in (await page.request("GET", path, token=None)).text
    assert page.context.token not in repr(page.context)


# ── the page's api ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_page_learns_where_its_device_connects(page: Page) -> None:
    answer = await page.request("GET", "/demo/api/config")
    assert answer.json() == {"app": "demo", "gateway": "ws://127.0.0.1:8081/v1/connect"}


async def test_a_port_that_is_known_later_is_used_from_then_on(page: Page) -> None:
    page.context.gateway_url = "ws://127.0.0.1:40123/v1/connect"
    page.context.allowed_hosts = {"127.0.0.1:40124"}
    answer = await page.request("GET", "/demo/api/config", host="127.0.0.1:40124")
    assert answer.json()["gateway"] == "ws://127.0.0.1:40123/v1/connect"
    assert "ws://127.0.0.1:40123" in answer.headers["content-security-policy"]


async def test_a_device_gets_its_token(page: Page) -> None:
    answer = await page.request("POST", "/demo/api/token", json={"device": "web-1"})
    assert answer.json() == {"device": "web-1", "token": "jwt-of-web-1"}


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        (b"{", 400, "bad_json", None),
        (b"[]", 400, "bad_json", None),
        (b"\xff", 400, "bad_json", None),
        (b"[" * 20_000, 400, "bad_json", None),
        (b"{}", 422, "missing_field", "device"),
        (b'{"device":7}', 422, "invalid", "device"),
        (b'{"device":""}', 422, "invalid", "device"),
        (json.dumps({"device": "x" * 129}).encode(), 422, "invalid", "device"),
        (b'{"device":"a\\nb"}', 422, "invalid", "device"),
        (b" " * (MAX_BODY + 1), 413, "too_large", None),
    ],
)
async def test_a_bad_token_request_is_refused_with_its_field(
    page: Page, body: bytes, status: int, code: str, field: str | None
) -> None:
    answer = await page.request("POST", "/demo/api/token", content=body)
    assert answer.status_code == status
    assert (answer.json()["error"]["code"], answer.json()["error"]["field"]) == (code, field)


async def test_a_push_goes_to_the_api_byte_for_byte_and_its_answer_comes_back(page: Page) -> None:
    body = b'{"target":{"device":"web-1"},  "title":"hi"}'
    answer = await page.request("POST", "/demo/api/messages", content=body)
    assert answer.status_code == 202
    assert answer.json() == {"id": "1001", "state": "accepted"}
    assert page.api.sent == [body]


async def test_what_the_api_refuses_is_passed_on_and_not_listed(page: Page) -> None:
    page.api.refuse_with = error(422, "invalid", "ttl")
    answer = await page.request("POST", "/demo/api/messages", content=b'{"ttl":-1}')
    assert answer.status_code == 422
    assert answer.json()["error"]["field"] == "ttl"
    assert (await page.request("GET", "/demo/api/messages")).json() == {"messages": []}


async def test_a_body_over_the_limit_does_not_reach_the_api(page: Page) -> None:
    answer = await page.request("POST", "/demo/api/messages", content=b"x" * (MAX_BODY + 1))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
    assert not page.api.sent


async def test_the_messages_of_the_page_are_listed_newest_first_with_what_they_were(page: Page) -> None:
    for title in ("first", "second"):
        await page.request(
            "POST", "/demo/api/messages", json={"target": {"device": "web-1"}, "title": title, "priority": "high"}
        )
    listed = (await page.request("GET", "/demo/api/messages")).json()["messages"]
    assert [entry["id"] for entry in listed] == ["1002", "1001"]
    assert [entry["summary"]["title"] for entry in listed] == ["second", "first"]
    assert (listed[0]["summary"]["priority"], listed[0]["summary"]["target"]) == ("high", "web-1")
    assert listed[0]["message"] == {"id": "1002", "state": "accepted"}


async def test_only_the_last_hundred_are_listed(page: Page) -> None:
    for _ in range(LIMIT + 3):
        await page.request("POST", "/demo/api/messages", json={"target": {"device": "web-1"}})
    listed = (await page.request("GET", "/demo/api/messages")).json()["messages"]
    assert len(listed) == LIMIT
    assert listed[-1]["id"] == "1004"


async def test_messages_that_were_sent_elsewhere_are_shown_when_named(page: Page) -> None:
    page.api.answers["7302"] = (200, b'{"id":"7302","state":"delivered"}')
    listed = (await page.request("GET", "/demo/api/messages?id=7302&id=7302&id=9999")).json()["messages"]
    assert listed == [
        {"id": "7302", "summary": None, "message": {"id": "7302", "state": "delivered"}, "error": None}
    ], "once each, and one that the app does not have is left out"


async def test_one_that_can_not_be_looked_up_spoils_no_other(page: Page) -> None:
    page.api.answers["1"] = error(503, "unavailable")
    page.api.answers["2"] = (200, b'{"id":"2","state":"waiting"}')
    one, two = (await page.request("GET", "/demo/api/messages?id=1&id=2")).json()["messages"]
    assert (one["message"], one["error"]["code"]) == (None, "unavailable")
    assert two["message"]["state"] == "waiting"


@pytest.mark.parametrize(
    ("query", "code"),
    [("id=abc", "invalid"), ("id=-1", "invalid"), ("&".join(f"id={n}" for n in range(1, LIMIT + 2)), "too_many")],
)
async def test_ids_that_can_not_be_are_refused(page: Page, query: str, code: str) -> None:
    answer = await page.request("GET", f"/demo/api/messages?{query}")
    assert answer.status_code == 422
    assert (answer.json()["error"]["code"], answer.json()["error"]["field"]) == (code, "id")


async def test_one_message_is_shown_and_recalled_by_the_api(page: Page) -> None:
    page.api.answers["7302"] = (200, b'{"id":"7302","state":"waiting"}')
    assert (await page.request("GET", "/demo/api/messages/7302")).json()["state"] == "waiting"
    assert (await page.request("DELETE", "/demo/api/messages/7302")).status_code == 200
    assert page.api.recalled == ["7302"]
    assert (await page.request("DELETE", "/demo/api/messages/9")).status_code == 404
    assert (await page.request("GET", "/demo/api/messages/not-an-id")).status_code == 404
    assert page.api.recalled == ["7302", "9"]


async def test_a_wrong_method_is_not_a_right_one(page: Page) -> None:
    assert (await page.request("PUT", "/demo/api/messages")).status_code == 405


async def test_a_page_that_goes_away_within_its_body_is_no_fault() -> None:
    parts = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]

    async def receive():  # type: ignore[no-untyped-def]
        return parts.pop(0)

    refused = await routes._body(Request({"type": "http", "method": "POST", "headers": []}, receive))
    assert not isinstance(refused, bytes)
    assert refused.status_code == 400
