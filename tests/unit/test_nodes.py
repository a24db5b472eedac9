"""In which order the broker's nodes are tried."""

from itertools import islice

import pytest

from shared.amqp.nodes import Nodes, split_urls

URLS = ("amqp://u:p@one:5672/", "amqp://u:p@two:5672/", "amqp://u:p@three:5672/")
LIST = ",".join(URLS)


def test_urls_are_separated_by_commas_and_perhaps_spaces() -> None:
    assert split_urls(", ".join(URLS)) == URLS
    assert split_urls(URLS[0]) == URLS[:1]


def test_a_comma_in_a_password_is_percent_encoded() -> None:
    assert split_urls("amqp://u:a%2Cb@one/") == ("amqp://u:a%2Cb@one/",)


def test_a_round_has_every_node_once() -> None:
    nodes = Nodes(LIST)
    for _ in range(3):
        assert sorted(nodes.round()) == sorted(URLS)


def test_a_round_begins_after_the_node_that_was_tried_last() -> None:
    nodes = Nodes(LIST)
    first, second = islice(nodes.round(), 2)
    third, *others = nodes.round()
    assert {first, second, third} == set(URLS)
    assert others == [first, second]


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("amqp://u:secret@one:7/vhost", "one:7"),
        ("amqp://u:secret@one", "one:5672"),
        ("amqps://u:secret@one", "one:5671"),
        ("amqp://u:s@cret@[::1]/", "[::1]:5672"),
    ],
)
def test_the_node_that_is_tried_is_named_without_user_and_password(url: str, place: str) -> None:
    nodes = Nodes(url)
    assert (nodes.trying(url), nodes.last) == (url, place)


def test_connections_spread_over_the_nodes() -> None:
    assert {next(Nodes(LIST).round()) for _ in range(200)} == set(URLS)
