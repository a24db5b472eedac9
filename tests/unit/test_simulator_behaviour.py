"""What the simulator decides for a call, without a server."""

import pytest

from tools.simulator.behaviour import ENDINGS, Behaviour, Call, DefaultBehaviour, Plan, decide, together

LATE_S = 15.0


def decided(to: str, default: DefaultBehaviour | None = None, earlier_calls: int = 0, reference: str = "b:1") -> Plan:
    return decide(Call(reference, to, earlier_calls), default or DefaultBehaviour(), LATE_S)


def modes_of_calls(default: DefaultBehaviour, calls: int) -> list[Behaviour]:
    return [decided("+8613800138000", default, reference=f"b:{row}").behaviour for row in range(calls)]


def test_an_ordinary_number_is_accepted_at_once() -> None:
    assert decided("+8613800138000") == Plan(Behaviour.ACCEPT, delay_s=0.0)


@pytest.mark.parametrize(
    ("ending", "behaviour", "delay_s"),
    [
        ("9001", Behaviour.SLOW, 1.0),
        ("9002", Behaviour.THROTTLE, 0.0),
        ("9003", Behaviour.UNAVAILABLE, 0.0),
        ("9004", Behaviour.UNAVAILABLE, 0.0),
        ("9005", Behaviour.REFUSE, 0.0),
        ("9006", Behaviour.INTERNAL_ERROR, 0.0),
        ("9007", Behaviour.ACCEPT_LATE, LATE_S),
        ("9008", Behaviour.ACCEPT_RESET, 0.0),
        ("9009", Behaviour.GARBAGE, 0.0),
        ("9010", Behaviour.THROTTLE, 0.0),
        ("9011", Behaviour.SPOIL, 0.0),
    ],
)
def test_a_special_ending_decides_the_first_call(ending: str, behaviour: Behaviour, delay_s: float) -> None:
    assert decided(f"+861380013{ending}") == Plan(behaviour, delay_s, retry_after_s=1)


@pytest.mark.parametrize("ending", ["9002", "9003"])
def test_a_once_ending_is_accepted_from_the_second_call_on(ending: str) -> None:
    assert decided(f"+861380013{ending}", earlier_calls=1) == Plan(Behaviour.ACCEPT)


@pytest.mark.parametrize("ending", sorted(ENDINGS.keys() - {"9002", "9003"}))
def test_every_other_ending_stays_the_same_on_later_calls(ending: str) -> None:
    assert decided(f"+861380013{ending}", earlier_calls=3) == decided(f"+861380013{ending}")


def test_the_ending_goes_before_the_default_behaviour() -> None:
    default = DefaultBehaviour(mode=Behaviour.UNAVAILABLE, delay_s=3, retry_after_s=60)
    assert decided("+8613800139010", default) == Plan(Behaviour.THROTTLE, delay_s=0.0, retry_after_s=1)


def test_the_default_behaviour_brings_its_delay_and_retry_after() -> None:
    default = DefaultBehaviour(mode=Behaviour.THROTTLE, delay_s=0.25, retry_after_s=7)
    assert decided("+8613800138000", default) == Plan(Behaviour.THROTTLE, 0.25, 7)


@pytest.mark.parametrize(("mode", "delay_s"), [(Behaviour.SLOW, 1.0), (Behaviour.ACCEPT_LATE, LATE_S)])
def test_a_slow_mode_without_a_delay_waits_its_own(mode: Behaviour, delay_s: float) -> None:
    assert decided("+8613800138000", DefaultBehaviour(mode=mode)).delay_s == delay_s


def test_a_share_of_zero_accepts_every_call() -> None:
    assert set(modes_of_calls(DefaultBehaviour(mode=Behaviour.REFUSE, share=0), 200)) == {Behaviour.ACCEPT}


def test_a_share_meets_about_that_part_of_the_calls() -> None:
    modes = modes_of_calls(DefaultBehaviour(mode=Behaviour.REFUSE, share=0.3, seed=1), 10_000)
    assert 2_800 < modes.count(Behaviour.REFUSE) < 3_200


def test_a_seed_picks_the_same_calls_again_and_another_seed_picks_others() -> None:
    first = modes_of_calls(DefaultBehaviour(mode=Behaviour.REFUSE, share=0.5, seed=1), 500)
    assert modes_of_calls(DefaultBehaviour(mode=Behaviour.REFUSE, share=0.5, seed=1), 500) == first
    assert modes_of_calls(DefaultBehaviour(mode=Behaviour.REFUSE, share=0.5, seed=2), 500) != first


def test_a_reference_in_the_share_draws_anew_on_each_call() -> None:
    default = DefaultBehaviour(mode=Behaviour.UNAVAILABLE, share=0.5)
    drawn = {decided("+8613800138000", default, earlier_calls=calls).behaviour for calls in range(50)}
    assert drawn == {Behaviour.ACCEPT, Behaviour.UNAVAILABLE}


def shared(*behaviours: Behaviour) -> list[Behaviour]:
    return [plan.behaviour for plan in together([Plan(behaviour) for behaviour in behaviours])]


def test_messages_that_share_a_call_keep_their_own_behaviours() -> None:
    own = [Behaviour.ACCEPT, Behaviour.SLOW, Behaviour.REFUSE, Behaviour.THROTTLE, Behaviour.UNAVAILABLE]
    assert shared(*own) == own


@pytest.mark.parametrize("whole", [Behaviour.SPOIL, Behaviour.INTERNAL_ERROR, Behaviour.GARBAGE])
def test_a_call_that_fails_for_one_takes_none(whole: Behaviour) -> None:
    assert shared(Behaviour.ACCEPT, whole, Behaviour.REFUSE, Behaviour.ACCEPT_LATE) == [whole] * 4


@pytest.mark.parametrize("whole", [Behaviour.ACCEPT_RESET, Behaviour.ACCEPT_LATE])
def test_a_call_whose_answer_is_lost_takes_what_it_would_have_taken(whole: Behaviour) -> None:
    own = [Behaviour.ACCEPT, whole, Behaviour.REFUSE, Behaviour.SLOW, Behaviour.THROTTLE]
    assert shared(*own) == [whole, whole, Behaviour.REFUSE, whole, Behaviour.THROTTLE]
