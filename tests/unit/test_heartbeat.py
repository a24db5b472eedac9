"""What a sender counts of the last minute."""

from services.sender.heartbeat import LastMinute


def test_what_is_older_than_a_minute_counts_no_more() -> None:
    now = [1000.0]
    minute = LastMinute(lambda: now[0])
    minute.add(5, 1)
    now[0] += 0.5
    minute.add(2, 0)
    now[0] += 30
    minute.add(10, 0)
    assert minute.sums() == (17, 1)
    now[0] += 30
    assert minute.sums() == (10, 0)
    now[0] += 60
    assert minute.sums() == (0, 0)
