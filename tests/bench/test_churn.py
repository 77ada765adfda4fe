"""What stays behind after churn, from figures written by hand."""

from bench.churn import Held, figures, growth, parsed


def held(rss: float = 100.0, files: float = 40.0, tasks: float = 20.0) -> Held:
    return {"gw": {"rss_mib": rss, "files": files, "tasks": tasks}}


def test_a_program_that_holds_what_it_held_leaves_nothing() -> None:
    samples = [(30.0 * number, held(110.0 + number % 2)) for number in range(20)]
    assert figures(held(), samples, held(files=43.0))["left"] == []


def test_files_and_tasks_that_stay_are_named() -> None:
    found = figures(held(), [], held(files=90.0, tasks=35.0))
    assert found["left"] == ["gw has 50 files more than before", "gw has 15 tasks more than before"]


def test_memory_that_grows_on_is_named_and_a_start_that_settles_is_not() -> None:
    settles = [(30.0 * number, held(100.0 + min(number, 5))) for number in range(20)]
    grows = [(30.0 * number, held(100.0 + number)) for number in range(20)]
    assert figures(held(), settles, held())["left"] == []
    assert figures(held(), grows, held())["left"] == ["gw grew by 2.0 MiB a minute to the end"]


def test_a_program_that_is_gone_is_named() -> None:
    assert figures(held(), [], {})["left"] == ["gw is gone"]


def test_growth_needs_something_to_go_by() -> None:
    assert growth([(0, 1.0), (30, 2.0)]) is None


def test_figures_are_read_with_labels_or_without() -> None:
    text = '# HELP x\ntaco_process_files{role="gateway"} 12\nprocess_tasks 3\nprocess_rss_bytes 1048576\nelse 1\n'
    assert parsed(text) == {"files": 12.0, "tasks": 3.0, "rss_mib": 1.0}
