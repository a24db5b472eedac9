"""Which provider takes which message, as properties of the pure rules."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from shared.domain.routing import ANY_PROVIDER, Route, Turns, streams_of, why_not
from shared.topology import Lane

PREFIXES = st.sampled_from(["+", "+8", "+86", "+8613", "+852", "+49", "+1"])
ROUTES = st.lists(
    st.builds(
        Route,
        st.sampled_from("abcd"),
        st.frozensets(st.sampled_from(Lane), min_size=1),
        st.frozensets(PREFIXES, min_size=1, max_size=3),
        st.integers(1, 5),
        st.none() | st.frozensets(st.integers(1, 3)),
    ),
    max_size=4,
    unique_by=lambda route: route.provider,
)
NUMBERS = st.from_regex(r"\+(86|852|49|1|7)[0-9]{8}", fullmatch=True)


@given(ROUTES, NUMBERS, st.sampled_from(Lane), st.sampled_from([ANY_PROVIDER, "a", "b"]), st.none() | st.integers(1, 3))
def test_every_number_is_in_one_stream_that_of_the_longest_prefix_of_those_that_take_the_batch(
    routes: list[Route], number: str, lane: Lane, pin: str, template_id: int | None
) -> None:
    (stream,) = (each for each in streams_of(routes, lane, pin, template_id) if each.has(number))
    taking = [route for route in routes if route.takes(lane, pin, template_id)]
    fitting = [prefix for route in taking for prefix in route.prefixes if number.startswith(prefix)]
    longest = max(fitting, key=len, default=None)
    assert {route.provider for route in stream.routes} == {
        route.provider for route in taking if longest in route.prefixes
    }
    assert pin == ANY_PROVIDER or {route.provider for route in stream.routes} <= {pin}


@given(st.dictionaries(st.sampled_from("abc"), st.integers(1, 9), min_size=1), st.integers(0, 50), st.data())
def test_messages_are_shared_by_weight_however_they_come(
    weights: dict[str, int], rounds: int, data: st.DataObject
) -> None:
    turns, shared, left = Turns(), Counter[str](), rounds * sum(weights.values())
    while left:
        asked = data.draw(st.integers(1, left))
        given_ = turns.share(asked, weights, dict.fromkeys(weights, asked))
        assert len(given_) == asked
        shared.update(given_)
        left -= asked
    assert shared == Counter({name: rounds * weight for name, weight in weights.items() if rounds})


@given(
    st.dictionaries(st.sampled_from("abc"), st.integers(1, 9), min_size=1),
    st.dictionaries(st.sampled_from("abcd"), st.integers(-1, 9)),
    st.integers(0, 40),
)
def test_none_gets_more_than_there_is_room_for_and_no_room_is_left_over(
    weights: dict[str, int], rooms: dict[str, int], asked: int
) -> None:
    shared = Counter(Turns().share(asked, weights, rooms))
    room = {name: max(0, rooms.get(name, 0)) for name in weights}
    assert all(shared[name] <= room.get(name, 0) for name in shared)
    assert shared.total() == min(asked, sum(room.values()))


def test_why_no_provider_takes_a_number_is_said() -> None:
    routes = [Route("cn", templates=frozenset({1})), Route("fast", frozenset({Lane.PRIORITY}))]
    assert why_not(routes, "bulk", ANY_PROVIDER, None) == (
        "No provider serves this number in the lane bulk; no template there for content without a template: cn"
    )
    assert why_not(routes, "bulk", "cn", 7) == (
        "No provider serves this number in the lane bulk of the provider cn; no template there for template 7: cn"
    )
    assert why_not(routes, "bulk", ANY_PROVIDER, 1) == "No provider serves this number in the lane bulk"
