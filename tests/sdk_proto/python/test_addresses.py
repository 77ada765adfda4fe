import pytest

from sdk_proto.python.addresses import Addresses

A, B, C = "wss://a/v1/connect", "wss://b/v1/connect", "wss://c/v1/connect"


def test_an_address_that_fails_is_followed_by_the_next_in_a_circle() -> None:
    addresses = Addresses([A, B])
    assert addresses.next == A
    addresses.failed()
    assert addresses.next == B
    addresses.reached()
    assert addresses.next == B  # what works is kept
    addresses.failed()
    assert addresses.next == A


def test_elsewhere_without_an_address_is_the_next_of_ours() -> None:
    addresses = Addresses([A, B])
    addresses.elsewhere()
    assert addresses.next == B
    addresses.elsewhere()
    assert addresses.next == A


def test_a_detour_is_for_one_connection() -> None:
    addresses = Addresses([A])
    addresses.migrate([B, C], permanent=False)
    assert addresses.next == B
    addresses.failed()
    assert addresses.next == C
    addresses.reached()
    assert addresses.next == A


def test_a_detour_that_leads_nowhere_is_given_up() -> None:
    addresses = Addresses([A])
    addresses.migrate([B], permanent=False)
    addresses.failed()
    assert addresses.next == A


def test_a_permanent_migration_replaces_the_addresses() -> None:
    addresses = Addresses([A])
    addresses.migrate([B], permanent=True)
    addresses.reached()
    addresses.failed()
    assert addresses.next == B


@pytest.mark.parametrize("urls", [[], ["ws://plain/"], ["https://b/"], ["nonsense"], ["wss://"], ["wss://["]])
def test_nobody_is_talked_down_to_plain_text_or_nonsense(urls: list[str]) -> None:
    addresses = Addresses([A, B])
    addresses.migrate(urls, permanent=True)
    assert addresses.next == B
    addresses.failed()
    assert addresses.next == A


def test_plain_text_may_lead_to_plain_text() -> None:
    addresses = Addresses(["ws://a/"])
    addresses.migrate(["ws://b/"], permanent=False)
    assert addresses.next == "ws://b/"


@pytest.mark.parametrize("urls", [[], ["http://a/"], ["a"], [A, "wss://"]])
def test_addresses_that_cannot_be_used_are_refused_at_once(urls: list[str]) -> None:
    with pytest.raises(ValueError, match="url"):
        Addresses(urls)
