"""How much memory there is, by what the kernel says, and that a node that is short of it keeps whom it has and takes who fits."""

from pathlib import Path

from push_gateway.guard.memory import Reading, Room, read

MIB = 1 << 20


class Machine:
    """A root folder with the files of the kernel."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.file("proc/self/statm", "5000 2560 100 1 0 300 0\n")  # 10 MiB of 4-KiB pages

    def file(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def group(self, path: str, limit: str, used: int, inactive: int = 0) -> None:
        self.file(f"sys/fs/cgroup/{path}/memory.max", f"{limit}\n")
        self.file(f"sys/fs/cgroup/{path}/memory.current", f"{used}\n")
        self.file(f"sys/fs/cgroup/{path}/memory.stat", f"anon 1\nfile 2\ninactive_file {inactive}\n")


def test_a_setting_bounds_the_process_itself(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    assert read(40 * MIB, machine.root) == Reading(10 * MIB, 40 * MIB)
    assert read(40 * MIB, machine.root).share == 0.25
    assert read(0, machine.root).share == 0.0


def test_a_group_bounds_all_in_it_without_what_the_kernel_can_drop(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.file("proc/self/cgroup", "0::/taco/gateway.1\n")
    machine.group("taco/gateway.1", "max", 20 * MIB)
    machine.group("taco", str(100 * MIB), 95 * MIB, inactive=15 * MIB)
    assert read(0, machine.root) == Reading(80 * MIB, 100 * MIB)
    assert read(11 * MIB, machine.root) == Reading(10 * MIB, 11 * MIB)  # the nearer bound


def test_in_a_container_the_group_lies_at_the_top(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.file("proc/self/cgroup", "0::/../../seen/from/outside\n")
    machine.group(".", str(64 * MIB), 32 * MIB)
    assert read(0, machine.root) == Reading(32 * MIB, 64 * MIB)
    machine.file("proc/self/cgroup", "0::/\n")
    assert read(0, machine.root) == Reading(32 * MIB, 64 * MIB)


def test_version_1_of_groups(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.file("proc/self/cgroup", "4:cpu,cpuacct:/x\n9:memory:/docker/1\n")
    machine.file("sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes", f"{50 * MIB}\n")
    machine.file("sys/fs/cgroup/memory/docker/1/memory.usage_in_bytes", f"{45 * MIB}\n")
    machine.file("sys/fs/cgroup/memory/docker/1/memory.stat", f"total_inactive_file {5 * MIB}\n")
    machine.file("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
    assert read(0, machine.root) == Reading(40 * MIB, 50 * MIB)


def test_files_that_are_missing_or_nonsense_bound_nothing(tmp_path: Path) -> None:
    assert read(0, tmp_path) == Reading(0, 0)
    machine = Machine(tmp_path)
    machine.file("proc/self/cgroup", "nonsense\n0::\n0::/a\n")
    machine.group("a", "²", 5)
    machine.file("proc/self/statm", "?")
    assert read(0, machine.root) == Reading(0, 0)


def test_this_process_has_a_size() -> None:
    assert read(1).used > MIB


def test_who_is_here_stays_and_who_leaves_makes_room() -> None:
    room = Room(0.9)
    room.note(Reading(80, 100), 1_000)
    room.note(Reading(91, 100), 1_200)
    assert room.ceiling == 1_200
    room.note(Reading(91, 100), 1_100)  # a hundred left, the memory stays ours: they may come back
    assert room.ceiling == 1_200


def test_when_it_grows_all_the_same_the_bound_comes_down_and_does_not_go_up_again() -> None:
    room = Room(0.9)
    room.note(Reading(9_100, 10_000), 1_200)
    room.note(Reading(9_300, 10_000), 1_000)
    assert room.ceiling == 1_000
    room.note(Reading(9_600, 10_000), 1_300)
    assert room.ceiling == 1_000


def test_it_is_over_well_below_the_bound_and_not_just_below_it() -> None:
    room = Room(0.9)
    room.note(Reading(91, 100), 1_200)
    room.note(Reading(88, 100), 1_000)
    assert room.ceiling == 1_200
    room.note(Reading(80, 100), 1_000)
    assert room.ceiling is None


def test_without_a_bound_there_is_always_room() -> None:
    for share, reading in ((0.9, Reading(100, 0)), (0.0, Reading(100, 100))):
        room = Room(share)
        room.note(reading, 5)
        assert room.ceiling is None
