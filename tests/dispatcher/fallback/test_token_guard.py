"""A mistake in a vendor's set-up must not wipe the tokens of a whole app."""

from dispatcher.fallback.token_guard import TokenGuard

KEY = "stub", "courier"


def test_a_single_dead_token_is_dropped() -> None:
    assert TokenGuard().may_drop(KEY, good=0, dead=1, now=0.0)


def test_when_most_tokens_die_at_once_none_is_dropped() -> None:
    guard = TokenGuard(at_least=20, share=0.5)
    assert not guard.may_drop(KEY, good=3, dead=25, now=0.0)


def test_many_dead_ones_among_more_good_ones_are_dropped() -> None:
    assert TokenGuard(at_least=20, share=0.5).may_drop(KEY, good=40, dead=25, now=0.0)


def test_the_window_moves_on() -> None:
    guard = TokenGuard(window_s=300.0, at_least=20)
    assert not guard.may_drop(KEY, good=0, dead=30, now=0.0)
    assert not guard.may_drop(KEY, good=0, dead=1, now=299.0)
    assert guard.may_drop(KEY, good=0, dead=1, now=302.0)


def test_apps_are_judged_apart() -> None:
    guard = TokenGuard(at_least=20)
    assert not guard.may_drop(KEY, good=0, dead=30, now=0.0)
    assert guard.may_drop(("stub", "customer"), good=0, dead=1, now=0.0)
