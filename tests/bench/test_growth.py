from bench.growth import steps


def test_each_rate_and_each_number_of_devices_is_a_step_and_none_comes_twice() -> None:
    assert steps([100, 1_000, 6_000], [1_000, 5_000, 15_000]) == [
        (5_000, 100),
        (5_000, 1_000),
        (5_000, 6_000),
        (1_000, 1_000),
        (15_000, 1_000),
    ]
