"""The demo page as a newcomer uses it: `taco up` as a process, headless Chromium, and `curl`'s request from outside."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs

import httpx
import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

pytestmark = [pytest.mark.e2e, pytest.mark.browser, pytest.mark.timeout(180)]

CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
START_S = 60
STEP_MS = 20_000  # how long the page may take to show what it was promised to show


def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None and "CI" not in os.environ:
        pytest.skip("chromium is not installed")
    assert found is not None, "CI needs chromium"
    return found


@dataclass
class Taco:
    process: subprocess.Popen[bytes]
    demo: dict[str, str]
    output: Path


@pytest.fixture(scope="module")
def taco(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Taco]:
    chromium()  # nothing is started in vain
    folder = tmp_path_factory.mktemp("taco")
    data, output = folder / "data", folder / "output.txt"
    ports = ("--api-port", "0", "--gateway-port", "0", "--grpc-port", "0")
    command = [sys.executable, "-m", "ops.cli", "up", "--data", str(data), *ports]
    with output.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT)
    try:
        yield Taco(process, _started(process, data / "demo.json", output), output)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=15) == 0, output.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _started(process: subprocess.Popen[bytes], file: Path, output: Path) -> dict[str, str]:
    """What `taco up` wrote once it was ready."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert process.poll() is None, f"taco up ended:\n{output.read_text()}"
        with suppress(OSError, ValueError, httpx.HTTPError):
            demo: dict[str, str] = json.loads(file.read_text())
            if httpx.get(f"{demo['api']}/readyz", timeout=5).status_code == 200:
                return demo
        time.sleep(0.1)
    raise AssertionError(f"taco up was not ready within {START_S} s:\n{output.read_text()}")


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=CHROMIUM_ARGS)
        yield browser
        await browser.close()


@pytest.fixture
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    context = await browser.new_context()
    context.set_default_timeout(STEP_MS)
    yield context
    await context.close()


@pytest.fixture
async def page(taco: Taco, context: BrowserContext) -> AsyncIterator[Page]:
    """The page, online as a device of its own. Whatever it throws or is refused by its policy fails the test."""
    page = await context.new_page()
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda line: troubles.append(line.text) if "Content Security Policy" in line.text else None)
    await page.goto(taco.demo["page"])
    await online(page)
    yield page
    assert not troubles


# ── the page's words ────────────────────────────────────────────────────────────────────────────────────────────────


async def online(page: Page) -> None:
    await page.wait_for_selector('#connection-state[data-state="online"]', timeout=STEP_MS)


async def send(page: Page, title: str) -> str:
    """Send a push by the form; its id."""
    await page.fill("#send-title", title)
    await page.click("#send-button")
    answer = await page.wait_for_selector(f'.message-row:has(.title-text[title="{title}"])', timeout=STEP_MS)
    assert answer is not None
    message_id = await answer.get_attribute("data-id")
    assert message_id is not None
    assert re.fullmatch("[1-9][0-9]*", message_id)
    return message_id


async def in_state(page: Page, message_id: str, *states: str) -> None:
    selector = ", ".join(f'.message-row[data-id="{message_id}"][data-state="{state}"]' for state in states)
    await page.wait_for_selector(selector, timeout=STEP_MS)


async def stage(page: Page, name: str, count: int) -> None:
    await expect(page.locator(f'#funnel [data-stage="{name}"] .stage-count')).to_have_text(str(count), timeout=STEP_MS)


async def shown(page: Page) -> list[str]:
    """The ids on the phone's screen, newest first."""
    return [str(await push.get_attribute("data-id")) for push in await page.locator(".push").all()]


# ── what is promised ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_push_arrives_is_acknowledged_and_its_reports_are_seen(page: Page) -> None:
    message_id = await send(page, "Order 1")
    push = page.locator(f'.push[data-id="{message_id}"]')
    await expect(push).to_have_count(1, timeout=STEP_MS)
    await expect(push.locator("h3")).to_have_text("Order 1")
    await in_state(page, message_id, "delivered")
    await push.get_by_role("button", name="Displayed").click()
    await in_state(page, message_id, "displayed")
    await push.get_by_role("button", name="Clicked").click()
    await in_state(page, message_id, "clicked")


async def test_what_was_sent_while_offline_arrives_on_return_each_once(page: Page) -> None:
    before = await shown(page)
    await page.click("#toggle-connection")
    await page.wait_for_selector('#connection-state[data-state="offline"]')
    ids = [await send(page, f"While away {number}") for number in range(3)]
    for message_id in ids:
        await in_state(page, message_id, "waiting")
    assert await shown(page) == before, "an offline phone shows nothing new"

    await page.click("#toggle-connection")
    await online(page)
    for message_id in ids:
        await in_state(page, message_id, "delivered")
    arrived = await shown(page)
    assert sorted(arrived) == sorted([*before, *ids])

    # Away and back once more: what was acknowledged stays one card.
    await page.click("#toggle-connection")
    await page.wait_for_selector('#connection-state[data-state="offline"]')
    await page.click("#toggle-connection")
    await online(page)
    last = await send(page, "Back again")
    await in_state(page, last, "delivered")
    assert sorted(await shown(page)) == sorted([*arrived, last])


async def test_a_push_sent_with_curl_is_shown_and_listed(taco: Taco, page: Page) -> None:
    device = await page.input_value("#device-id")
    async with httpx.AsyncClient() as client:
        answer = await client.post(
            f"{taco.demo['api']}/v1/messages",
            headers={"Authorization": f"Bearer {taco.demo['key']}"},
            json={"target": {"device": device}, "title": "From a terminal", "priority": "urgent", "data": {"order": 9}},
        )
    assert answer.status_code == 202, answer.text
    message_id = answer.json()["id"]
    push = page.locator(f'.push[data-id="{message_id}"]')
    await expect(push).to_have_count(1, timeout=STEP_MS)
    await expect(push.locator(".priority")).to_have_text("urgent")
    await expect(push.locator(".push-data")).to_contain_text('"order": 9')
    await in_state(page, message_id, "delivered")


async def test_a_recall_strikes_a_shown_push_through_and_stops_a_waiting_one(page: Page) -> None:
    delivered = await send(page, "Too early")
    await in_state(page, delivered, "delivered")
    await page.locator(f'.message-row[data-id="{delivered}"] .cell-recall button').click()
    await page.wait_for_selector(f'.push[data-id="{delivered}"][data-recalled]')

    await page.click("#toggle-connection")
    waiting = await send(page, "Never mind")
    await in_state(page, waiting, "waiting")
    await page.locator(f'.message-row[data-id="{waiting}"] .cell-recall button').click()
    await in_state(page, waiting, "recalled")
    await page.click("#toggle-connection")
    await online(page)
    last = await send(page, "After it")
    await in_state(page, last, "delivered")
    assert waiting not in await shown(page)


async def test_what_the_api_refuses_is_said_at_the_field(page: Page) -> None:
    await page.fill("#send-ttl", "-5")
    await page.click("#send-button")
    await expect(page.locator("#error-ttl")).to_be_visible(timeout=STEP_MS)
    await expect(page.locator("#send-ttl")).to_have_attribute("aria-invalid", "true")
    await expect(page.locator("#send-result")).to_contain_text("422")
    await page.fill("#send-ttl", "")
    await expect(page.locator("#error-ttl")).to_be_hidden()


async def test_a_reload_keeps_the_device_its_screen_and_the_table(page: Page) -> None:
    device = await page.input_value("#device-id")
    message_id = await send(page, "Stays")
    await in_state(page, message_id, "delivered")
    assert "#" not in page.url, "the token is out of the address bar"
    await page.reload()
    await online(page)
    assert await page.input_value("#device-id") == device
    assert await shown(page) == [message_id]
    await in_state(page, message_id, "delivered")
    again = await send(page, "And goes on")
    await in_state(page, again, "delivered")
    assert await shown(page) == [again, message_id]


async def test_the_page_is_the_device_that_the_printed_curl_line_pushes_to(taco: Taco, page: Page) -> None:
    printed = parse_qs(taco.demo["page"].partition("#")[2])["device"]
    assert [await page.input_value("#device-id")] == printed
    assert f'"device":"{printed[0]}"' in taco.output.read_text()


async def test_a_second_tab_is_another_device(context: BrowserContext, taco: Taco, page: Page) -> None:
    other = await context.new_page()
    await other.goto(taco.demo["page"])
    await online(other)
    assert await other.input_value("#device-id") != await page.input_value("#device-id")
    message_id = await send(page, "Only here")
    await in_state(page, message_id, "delivered")
    assert message_id in await shown(page)
    assert message_id not in await shown(other)
    await other.close()


async def test_the_funnel_counts_what_the_table_shows(page: Page) -> None:
    message_id = await send(page, "Counted")
    await in_state(page, message_id, "delivered")
    rows = page.locator(".message-row")
    states = [await row.get_attribute("data-state") for row in await rows.all()]
    await stage(page, "accepted", len(states))
    await stage(page, "delivered", sum(state in ("delivered", "displayed", "clicked") for state in states))


async def test_without_the_printed_token_the_page_says_where_to_find_it(context: BrowserContext, taco: Taco) -> None:
    page = await context.new_page()
    await page.goto(taco.demo["page"].partition("#")[0])
    await expect(page.locator("#notice")).to_contain_text("taco up printed")
    await expect(page.locator("#page")).to_be_hidden()
    await page.goto("about:blank")
    await page.goto(taco.demo["page"].partition("#")[0] + "#token=wrong")
    await expect(page.locator("#notice")).to_contain_text("taco up")
    await expect(page.locator("#page")).to_be_hidden()


async def test_every_control_can_be_reached_by_keyboard(page: Page) -> None:
    await page.focus("#toggle-connection")
    await page.keyboard.press("Enter")
    await page.wait_for_selector('#connection-state[data-state="offline"]')
    await page.keyboard.press("Enter")
    await online(page)
    await page.fill("#send-title", "By keyboard")
    await page.keyboard.press("Enter")
    await expect(page.locator("#pushes h3").first).to_have_text("By keyboard", timeout=STEP_MS)
    card = page.locator(".push").first
    await card.get_by_role("button", name="Clicked").focus()
    await page.keyboard.press("Space")
    await in_state(page, str(await card.get_attribute("data-id")), "clicked")
