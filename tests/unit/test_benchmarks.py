"""What the benchmark computes from what it measured."""

import pytest

from benchmarks import markdown
from benchmarks.accept import Accepting, Times
from benchmarks.contenders import OURS
from benchmarks.drain import BROKER, DATABASE, STUB, Drained
from benchmarks.figures import Ratio, percentile, ratio, rotated, short, tenth_rates
from benchmarks.pollers import Polled
from benchmarks.report import Report, comparisons, frameworks_by_rate
from benchmarks.senders import Scaling
from benchmarks.split import Splitting
from benchmarks.usage import Memory

SLOW, FAST = "Slow", "Fast"


def drained(numbers_per_s: float) -> Drained:
    cpu_s_by_part = {"workers": 1.0, BROKER: 2.0, DATABASE: 3.0, STUB: 0.5}
    return Drained(numbers_per_s, cpu_s_by_part, Memory(40, 20))


def report() -> Report:
    accepting = Accepting({1000: [Times(2, 6)]}, {1000: [Times(1, 3)]}, beside=[Times(5, 9)])
    draining = {OURS: [drained(4000)], SLOW: [drained(500)], FAST: [drained(1000)]}
    splitting, scaling, polling = Splitting([10_000], [20_000]), Scaling([200], [960]), Polled([4000], [3800], [200])
    return Report({"machine": "a small one"}, accepting, splitting, draining, scaling, polling)


def test_a_ratio_is_of_the_medians_with_the_lowest_and_highest_round_beside_it() -> None:
    assert ratio([100, 400, 200], [50, 100, 40]) == Ratio(of_medians=4, lowest=2, highest=5)


def test_figures_of_different_rounds_are_not_compared() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratio([1, 2], [1])


def test_no_rounds_have_no_ratio() -> None:
    with pytest.raises(ValueError, match="no round"):
        ratio([], [])


@pytest.mark.parametrize(("percent", "expected"), [(50, 50), (99, 99), (100, 100), (0.1, 1)])
def test_a_percentile_is_a_value_that_was_measured(percent: float, expected: float) -> None:
    assert percentile(range(100, 0, -1), percent) == expected


def test_the_99th_percentile_of_few_values_is_the_largest() -> None:
    assert percentile([3, 1, 2], 99) == 3


def test_every_round_begins_with_another_contender() -> None:
    assert [rotated("abc", turn) for turn in range(4)] == [
        ["a", "b", "c"],
        ["b", "c", "a"],
        ["c", "a", "b"],
        ["a", "b", "c"],
    ]


def test_an_even_run_has_ten_equal_tenths() -> None:
    assert tenth_rates([(0, 0), (5, 500), (10, 1000)], 1000) == pytest.approx([100] * 10)


def test_a_run_that_slows_down_shows_it_in_its_last_tenth() -> None:
    rates = tenth_rates([(0, 0), (9, 900), (11, 1000)], 1000)
    assert rates[:9] == pytest.approx([100] * 9)
    assert rates[9] == pytest.approx(50)


def test_looks_between_which_nothing_happened_change_nothing() -> None:
    assert tenth_rates([(0, 0), (4, 400), (4.5, 400), (5, 500), (10, 1000)], 1000)[3] == pytest.approx(100)


def test_a_run_that_did_not_end_has_no_tenths() -> None:
    with pytest.raises(ValueError, match="never done"):
        tenth_rates([(0, 0), (5, 900)], 1000)


@pytest.mark.parametrize(
    ("figure", "written"),
    [(2213.4, "2,210"), (14.26, "14.3"), (0.5238, "0.524"), (9.996, "10.0"), (123456, "123,000"), (0, "0")],
)
def test_figures_are_written_with_three_digits(figure: float, written: str) -> None:
    assert short(figure) == written


def test_the_fastest_framework_comes_first() -> None:
    assert frameworks_by_rate({SLOW: [drained(500)], OURS: [drained(9000)], FAST: [drained(1000)]}) == [FAST, SLOW]


def test_a_run_is_compared_with_what_ran_beside_it() -> None:
    ratios = {it.what: it.ratio.of_medians for it in comparisons(report())}
    assert ratios == {
        "accept 1,000 recipients, p99: sms-batch ÷ bare aiohttp handler": 2,
        "split, ledger rows written: sms-batch ÷ C client that only publishes": 0.5,
        "drain: sms-batch ÷ Fast": 4,
        "drain: sms-batch ÷ Slow": 8,
        "CPU, all processes and servers: sms-batch ÷ Fast": 1,
        "peak memory, all processes: sms-batch ÷ Fast": 1,
        "drain with a provider that takes 100 ms: 5 senders ÷ 1": 4.8,
        "drain, Redis there: 1,000 pollers, each every 5 s ÷ none": 0.95,
    }


def test_without_the_c_client_splitting_is_compared_with_nothing() -> None:
    assert comparisons(Report({}, splitting=Splitting([10_000], []))) == []


def test_a_page_has_each_ratio_with_the_figures_that_it_is_of() -> None:
    assert "| drain: sms-batch ÷ Fast | 4.00 (4.00 to 4.00) | 4,000 ÷ 1,000 | numbers/s |" in markdown.page(report())


def test_a_page_of_a_part_has_no_empty_tables() -> None:
    page = markdown.page(Report({"machine": "a small one"}, splitting=Splitting([10_000], [20_000])))
    assert "## Draining" not in page
    assert "## Accepting" not in page


def test_the_page_says_what_each_part_costs_a_number() -> None:
    page = markdown.page(report())
    assert "| workers | 100 |" in page
    assert "| together | 650 |" in page
