"""The moving window of rate limits."""

from orfila.web import limits
from orfila.web.limits import RateLimit


def test_a_window_moves(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(limits.time, "monotonic", lambda: clock[0])
    limit = RateLimit(2, 60)
    assert [limit.take("a"), limit.take("a"), limit.take("a")] == [True, True, False]
    assert limit.take("b")
    clock[0] = 59.9
    assert not limit.take("a")
    clock[0] = 60.0
    assert [limit.take("a"), limit.take("a"), limit.take("a")] == [True, True, False]


def test_old_keys_are_forgotten_when_there_are_many(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(limits.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(limits, "_MAX_KEYS", 100)
    limit = RateLimit(1, 60)
    for number in range(100):
        assert limit.take(str(number))
    clock[0] = 61.0
    assert limit.take("new")
    assert list(limit._taken) == ["new"]
