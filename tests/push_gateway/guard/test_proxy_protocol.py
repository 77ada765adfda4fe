"""What a proxy says of a connection: exact headers are believed, in however many pieces; nothing else is, and no bytes do harm."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from push_gateway.guard.proxy_protocol import V1, V1_LONGEST, V2, Bad, Proxied, read

MOST = 8_192


def v2(command: int, family: int, body: bytes = b"", *, length: int | None = None, version: int = 2) -> bytes:
    size = len(body) if length is None else length
    return V2 + bytes((version << 4 | command, family)) + size.to_bytes(2, "big") + body


INET = bytes((192, 0, 2, 7, 10, 0, 0, 1)) + b"\x12\x67\x1f\x91"
INET6 = ipaddress.IPv6Address("2001:db8::7").packed + ipaddress.IPv6Address("::1").packed + b"\x12\x67\x1f\x91"
TLVS = b"\x02\x00\x05a.com" + b"\x04\x00\x00" + b"\x20\x00\x05\x01\0\0\0\0"

GOOD = [
    pytest.param(b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 8081\r\n", "192.0.2.7", id="v1, IPv4"),
    pytest.param(b"PROXY TCP6 2001:DB8::7 ::1 4711 8081\r\n", "2001:db8::7", id="v1, IPv6"),
    pytest.param(b"PROXY TCP6 ::ffff:192.0.2.7 ::1 0 65535\r\n", "192.0.2.7", id="v1, IPv4 as IPv6"),
    pytest.param(b"PROXY UNKNOWN\r\n", None, id="v1, unknown"),
    pytest.param(b"PROXY UNKNOWN ffff::1 what ever 1\r\n", None, id="v1, unknown, with more"),
    pytest.param(v2(1, 0x11, INET), "192.0.2.7", id="v2, IPv4"),
    pytest.param(v2(1, 0x12, INET), "192.0.2.7", id="v2, UDP over IPv4"),
    pytest.param(v2(1, 0x21, INET6), "2001:db8::7", id="v2, IPv6"),
    pytest.param(v2(1, 0x11, INET + TLVS), "192.0.2.7", id="v2, with TLVs"),
    pytest.param(v2(1, 0x11, INET + b"\xff"), "192.0.2.7", id="v2, with half a TLV, which is passed over"),
    pytest.param(v2(0, 0x00), None, id="v2, LOCAL"),
    pytest.param(v2(0, 0x11, INET), None, id="v2, LOCAL with an address"),
    pytest.param(v2(0, 0xFF, b"xyz"), None, id="v2, LOCAL with a family that is none"),
    pytest.param(v2(1, 0x00), None, id="v2, UNSPEC"),
    pytest.param(v2(1, 0x00, TLVS), None, id="v2, UNSPEC with TLVs"),
    pytest.param(v2(1, 0x10), None, id="v2, a transport that is not said"),
    pytest.param(v2(1, 0x31, bytes(216)), None, id="v2, UNIX"),
]


@pytest.mark.parametrize(("header", "address"), GOOD)
@pytest.mark.parametrize("behind", [b"", b"GET /v1/connect HTTP/1.1\r\n", b"\r\n\r\n"])
def test_a_header_says_whose_connection_it_is(header: bytes, address: str | None, behind: bytes) -> None:
    assert read(header + behind, MOST) == Proxied(address, len(header))


@pytest.mark.parametrize(("header", "address"), GOOD)
def test_every_part_of_a_header_asks_for_more(header: bytes, address: str | None) -> None:
    for length in range(len(header)):
        assert read(header[:length], MOST) is None


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"GET / HTTP/1.1\r\n", id="no header"),
        pytest.param(b"\x16\x03\x01", id="TLS"),
        pytest.param(b"PROXX", id="nearly"),
        pytest.param(b"proxy TCP4 ", id="small letters"),
        pytest.param(b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 8081\n" + b"x" * 107, id="LF alone"),
        pytest.param(b"PROXY  TCP4 192.0.2.7 10.0.0.1 1 2\r\n", id="two spaces"),
        pytest.param(b"PROXY TCP5 192.0.2.7 10.0.0.1 1 2\r\n", id="a protocol that is none"),
        pytest.param(b"PROXY TCP4 192.0.2.7 10.0.0.1 1\r\n", id="a port is missing"),
        pytest.param(b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2 3\r\n", id="a port too many"),
        pytest.param(b"PROXY TCP4 192.0.2.07 10.0.0.1 1 2\r\n", id="a leading zero in an address"),
        pytest.param(b"PROXY TCP4 192.0.2.7 10.0.0.1 01 2\r\n", id="a leading zero in a port"),
        pytest.param(b"PROXY TCP4 192.0.2.7 10.0.0.1 1 65536\r\n", id="a port that is too high"),
        pytest.param(b"PROXY TCP4 192.0.2.7 10.0.0.1 -1 2\r\n", id="a port with a sign"),
        pytest.param(b"PROXY TCP4 2001:db8::7 ::1 1 2\r\n", id="IPv6 as IPv4"),
        pytest.param(b"PROXY TCP6 192.0.2.7 10.0.0.1 1 2\r\n", id="IPv4 as IPv6"),
        pytest.param(b"PROXY TCP6 fe80::1%lo ::1 1 2\r\n", id="a zone"),
        pytest.param(b"PROXY TCP4 192.0.2.7 nowhere 1 2\r\n", id="a destination that is none"),
        pytest.param(b"PROXY TCP4 192.0.2.7\0 10.0.0.1 1 2\r\n", id="a zero byte"),
        pytest.param(b"PROXY TCP4 \xb2.0.2.7 10.0.0.1 1 2\r\n", id="not ASCII"),
        pytest.param(b"PROXY UNKNOWN " + b"x" * 107, id="a line that does not end"),
        pytest.param(v2(1, 0x11, INET, version=1), id="v2, version 1"),
        pytest.param(v2(2, 0x11, INET), id="v2, a command that is none"),
        pytest.param(v2(1, 0x41, INET), id="v2, a family that is none"),
        pytest.param(v2(1, 0x13, INET), id="v2, a transport that is none"),
        pytest.param(v2(1, 0x11, INET[:11]), id="v2, IPv4 cut short"),
        pytest.param(v2(1, 0x21, INET6[:35]), id="v2, IPv6 cut short"),
        pytest.param(v2(1, 0x31, bytes(215)), id="v2, UNIX cut short"),
        pytest.param(v2(1, 0x11, INET, length=MOST), id="v2, longer than we take"),
        pytest.param(v2(0, 0x00, length=0xFFFF), id="v2, LOCAL, longer than we take"),
    ],
)
def test_anything_else_ends_the_connection(data: bytes) -> None:
    assert isinstance(read(data, MOST), Bad)


def test_a_long_header_is_refused_by_its_first_bytes_and_not_waited_for() -> None:
    assert isinstance(read(v2(1, 0x11, INET, length=1_000)[:16], 500), Bad)


hostile = st.one_of(
    st.binary(max_size=300),
    st.builds(lambda rest: V1 + rest, st.binary(max_size=150)),
    st.builds(lambda rest: V2 + rest, st.binary(max_size=300)),
    st.builds(
        v2,
        st.integers(0, 15),
        st.integers(0, 255),
        st.binary(max_size=260),
        length=st.none() | st.integers(0, 0xFFFF),
        version=st.integers(0, 15),
    ),
    st.from_regex(rb"PROXY (TCP4|TCP6|UNKNOWN) [0-9a-f.:]* [0-9a-f.:]* [0-9]* [0-9]*\r\n", fullmatch=True),
)


@given(hostile, st.integers(0, 400))
def test_no_bytes_do_harm_and_an_address_is_one(data: bytes, most: int) -> None:
    found = read(data, most)
    if isinstance(found, Proxied):
        assert 0 < found.length <= len(data)
        assert found.length <= max(most, V1_LONGEST)
        if found.address is not None:
            address = ipaddress.ip_address(found.address)
            assert address.version == 4 or address.ipv4_mapped is None
    elif found is None:  # then it is short: what is waited for is bounded
        assert len(data) < max(most, V1_LONGEST)


@given(hostile, st.data())
def test_what_was_said_of_a_part_is_not_taken_back(data: bytes, draws: st.DataObject) -> None:
    """However the bytes are cut, the answer is that of the whole."""
    whole = read(data, MOST)
    part = read(data[: draws.draw(st.integers(0, len(data)))], MOST)
    assert part is None or type(part) is type(whole)
    if isinstance(part, Proxied):
        assert part == whole


Address = ipaddress.IPv4Address | ipaddress.IPv6Address
pairs = st.tuples(st.ip_addresses(v=4), st.ip_addresses(v=4)) | st.tuples(st.ip_addresses(v=6), st.ip_addresses(v=6))


@given(pairs, st.integers(0, 65_535), st.integers(0, 65_535))
def test_both_versions_tell_the_same(addresses: tuple[Address, Address], a: int, b: int) -> None:
    source, to = addresses
    four = isinstance(source, ipaddress.IPv4Address)
    line = f"PROXY TCP{4 if four else 6} {source} {to} {a} {b}\r\n".encode()
    binary = v2(1, 0x11 if four else 0x21, source.packed + to.packed + a.to_bytes(2, "big") + b.to_bytes(2, "big"))
    first, second = read(line, MOST), read(binary, MOST)
    assert isinstance(first, Proxied)
    assert isinstance(second, Proxied)
    assert first.address == second.address
