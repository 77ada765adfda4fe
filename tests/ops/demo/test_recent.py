import pytest

from ops.demo.recent import Recent, Summary, summarise


def test_the_newest_comes_first_and_the_oldest_is_forgotten() -> None:
    recent = Recent(limit=2)
    for number in range(3):
        recent.add(str(number), Summary(sent=number))
    assert list(recent) == ["2", "1"]
    assert recent.get("0") is None


def test_a_repeat_with_the_same_id_is_one_message() -> None:
    recent = Recent(limit=2)
    for number in ("1", "2", "1"):
        recent.add(number, Summary(sent=0))
    assert list(recent) == ["1", "2"]


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ({"device": "d-1"}, "d-1"),
        ({"devices": ["a", "b"]}, "2 devices"),
        ({"alias": "u-7"}, "alias u-7"),
        ({"all": True}, "all"),
        (None, ""),
    ],
)
def test_a_target_is_described_in_a_few_words(target: object, shown: str) -> None:
    assert summarise({"target": target, "title": "hi"}, 17).target == shown
    assert summarise({"target": target, "title": "hi"}, 17).sent == 17
