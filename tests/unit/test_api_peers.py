"""What counts as one address, and how much it may take."""

import pytest

from services.api.serving.connections import most_connections
from services.api.serving.peers import Places, WrongKeys, network_of


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_one_address_is_an_ipv4_address_or_an_ipv6_subscribers_network(address: str, network: str) -> None:
    assert network_of(address) == network


def test_nobody_has_more_than_a_share_of_the_places() -> None:
    places = Places(5, 3)
    assert [places.enter("a") for _ in range(4)] == [True, True, True, False]
    assert [places.enter("b") for _ in range(3)] == [True, True, False]
    places.leave("a")
    assert [places.enter("c"), places.enter("c")] == [True, False]


def test_ten_wrong_keys_a_second_are_no_more_than_one_address_may_try() -> None:
    wrong = WrongKeys()
    assert [wrong.are_too_many("192.0.2.7", 5.0 + n / 100) for n in range(12)] == [False] * 10 + [True] * 2
    assert not wrong.are_too_many("192.0.2.8", 5.5)
    assert not wrong.are_too_many("192.0.2.7", 6.0)


def test_the_table_of_addresses_is_bounded() -> None:
    wrong = WrongKeys()
    for number in range(10_100):
        wrong.are_too_many(f"10.0.{number // 256}.{number % 256}", 5.0)
    assert len(wrong._counts) == 10_000


@pytest.mark.parametrize(
    ("wanted", "files", "most"), [(1000, 20_000, 1000), (1000, 256, 156), (1000, 64, 1), (9, -1, 9)]
)
def test_there_are_fewer_connections_than_files_may_be_open(wanted: int, files: int, most: int) -> None:
    assert most_connections(wanted, files) == most
