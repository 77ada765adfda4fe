"""What addresses of a user's choice may be called."""

import asyncio
import socket

import pytest

from dispatcher.fallback.guard import Guard, Refused, port_range

PUBLIC = "93.184.215.14"


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/hook",
        "http://example.com",
        "https://example.com:8443/a?b=c",
        "HTTPS://EXAMPLE.COM/",
        f"http://{PUBLIC}/",
        "https://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]/",
        "https://xn--bcher-kva.example/",
        "https://1password.com/",
    ],
)
def test_ordinary_urls_pass(url: str) -> None:
    Guard().check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://example.com/",
        "javascript:alert(1)",
        "//example.com/",
        "example.com/hook",
        "",
        "http://",
        "http:///path",
        "http://user@example.com/",
        "http://user:pass@example.com/",
        "http://example.com@127.0.0.1/",
        "http://127.0.0.1:80@example.com/",
        "http://example.com\\@127.0.0.1/",
        "http://exa mple.com/",
        "http://example.com/\r\nHost: other",
        "http://example.com:22/",
        "http://example.com:25/",
        "http://example.com:0/",
        "http://example.com:99999/",
        "http://example.com:port/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.1/",
        "http://0177.0.0.1/",
        "http://017700000001/",
        "http://127.1/",
        "http://1.2.3.4.5/",
        "http://[::1%25eth0]/",
        "http://127.0.0.1%2f@example.com/",
        "http://[::1/",
    ],
)
def test_urls_that_hide_something_are_refused(url: str) -> None:
    with pytest.raises(Refused):
        Guard().check_url(url)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "100.127.255.254",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.1",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a00:1",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::1",
        "2002:5db8:d70e::1",
        "3fff::1",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "not-an-address",
    ],
)
def test_special_networks_are_refused_however_they_are_written(address: str) -> None:
    with pytest.raises(Refused):
        Guard().check_address(address)


@pytest.mark.parametrize(
    "address",
    [
        PUBLIC,
        "1.1.1.1",
        "172.15.0.1",
        "172.32.0.1",
        "100.63.255.255",
        "::ffff:1.1.1.1",
        "2606:4700::1111",
        "64:ff9b::101:101",
    ],
)
def test_public_addresses_pass(address: str) -> None:
    Guard().check_address(address)


@pytest.mark.parametrize("address", ["127.0.0.1", "::ffff:127.0.0.1"])
def test_the_operator_may_allow_a_network(address: str) -> None:
    Guard(allowed=["127.0.0.0/8"]).check_address(address)


def test_allowing_one_network_allows_no_other() -> None:
    with pytest.raises(Refused):
        Guard(allowed=["127.0.0.0/8"]).check_address("10.0.0.1")


@pytest.mark.parametrize("text", ["", "a", "0", "65536", "20-10", "-5", "1-", "80,443"])
def test_what_is_no_port_range_is_said_so(text: str) -> None:
    with pytest.raises(ValueError, match="port"):
        port_range(text)


def test_a_refusal_repeats_nothing_of_the_url() -> None:
    with pytest.raises(Refused) as refused:
        Guard().check_url("http://user:hunter2@example.com/?key=hunter2")
    assert "hunter2" not in str(refused.value)


class Resolver:
    """Answers in turn; the last one for ever."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


async def test_a_name_with_one_private_address_among_public_ones_is_refused() -> None:
    guard = Guard(resolve=Resolver([PUBLIC, "10.0.0.1"]))
    with pytest.raises(Refused):
        await guard.addresses("example.com", 443)


async def test_a_name_without_an_address_is_an_error_of_the_network() -> None:
    with pytest.raises(OSError, match="no address"):
        await Guard(resolve=Resolver([])).addresses("example.com", 443)


async def test_a_name_that_is_not_resolved_in_time_is_given_up() -> None:
    async def never(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    with pytest.raises(TimeoutError):
        await Guard(resolve=never, resolve_timeout_s=0.01).addresses("example.com", 443)


async def test_the_systems_own_reading_of_numbers_is_judged_too() -> None:
    """inet_aton reads "0x7f.1" as 127.0.0.1; the address that comes out is what is checked."""
    try:
        socket.getaddrinfo("0x7f.1", 80)
    except OSError:
        pytest.skip("the resolver of this system does not read such numbers")
    with pytest.raises(Refused):
        await Guard().addresses("0x7f.1", 80)
