"""How a machine is divided: never more workers than tracks, cores or memory carry, one per GPU."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss_cli.batch.cores import (
    Division,
    Machine,
    _free_in,
    _free_memory,
    _groups,
    _quota,
    divide,
    this_machine,
    worker_bytes,
)

GIB = 1 << 30


def divided(machine, *, tracks=100, jobs=None, threads=None, device="cpu", worker=GIB, seconds=1e9):
    division = divide(
        machine, tracks=tracks, seconds=seconds, jobs=jobs, threads=threads, device=device, worker_bytes=worker
    )
    return division.devices, division.threads


@pytest.mark.parametrize(
    ("machine", "asked", "expected"),
    [
        (Machine(8, 64 * GIB), {}, (("cpu",) * 8, 1)),
        (Machine(8, 64 * GIB), {"device": "auto"}, (("auto",) * 8, 1)),
        (Machine(8, 64 * GIB), {"threads": 2}, (("cpu",) * 4, 2)),
        (Machine(8, 64 * GIB), {"jobs": 2}, (("cpu",) * 2, 4)),
        (Machine(8, 64 * GIB), {"jobs": 3}, (("cpu",) * 3, 2)),
        (Machine(8, 64 * GIB), {"jobs": 2, "threads": 1}, (("cpu",) * 2, 1)),
        (Machine(8, 64 * GIB), {"tracks": 3}, (("cpu",) * 3, 2)),
        (Machine(8, 64 * GIB), {"tracks": 1, "jobs": 8}, (("cpu",), 8)),
        (Machine(8, 4 * GIB), {}, (("cpu",) * 3, 2)),  # four fifths of memory
        (Machine(8, 4 * GIB), {"jobs": 6}, (("cpu",) * 6, 1)),  # who asks for more gets it
        (Machine(8, 1000), {}, (("cpu",), 8)),
        (Machine(8, None), {}, (("cpu",) * 8, 1)),
        (Machine(1, 64 * GIB), {"threads": 4}, (("cpu",), 4)),
        (Machine(8, 64 * GIB), {"seconds": 119.0}, (("cpu",), 8)),
        (Machine(8, 64 * GIB), {"seconds": 120.0}, (("cpu",) * 2, 4)),
        (Machine(8, 64 * GIB), {"seconds": 10.0, "jobs": 2}, (("cpu",) * 2, 4)),
        (Machine(16, 64 * GIB, ("cuda:0", "cuda:1")), {"device": "auto"}, (("cuda:0", "cuda:1"), 8)),
        (Machine(16, 64 * GIB, ("cuda:0", "cuda:1")), {"device": "cuda"}, (("cuda:0", "cuda:1"), 8)),
        (Machine(16, 64 * GIB, ("cuda:0", "cuda:1")), {"device": "cuda", "tracks": 1}, (("cuda:0",), 16)),
        (
            Machine(16, 64 * GIB, ("cuda:0", "cuda:1")),
            {"device": "cuda", "jobs": 4},
            (("cuda:0", "cuda:1", "cuda:0", "cuda:1"), 4),
        ),
        (Machine(16, 64 * GIB, ("cuda:0", "cuda:1")), {"device": "cuda:1"}, (("cuda:1",), 16)),
        (Machine(16, 64 * GIB, ("cuda:0", "cuda:1")), {"device": "cpu"}, (("cpu",) * 16, 1)),
        (Machine(4, 64 * GIB), {"device": "cuda"}, (("cuda",), 4)),  # and the worker says that there is none
        (Machine(8, None, ("mps",)), {"device": "auto"}, (("mps",), 8)),
        (Machine(8, None), {"device": "mps"}, (("mps",), 8)),
    ],
)
def test_a_machine_is_divided(machine, asked, expected):
    assert divided(machine, **asked) == expected


TWO_GPUS = ("cuda:0", "cuda:1")


@pytest.mark.parametrize(
    ("devices", "tracks", "segments", "seats"),
    [
        (("cuda:0",), 100, 1, 8),
        (("cuda:0",), 100, 2, 4),
        (("cuda:0",), 100, 3, 3),
        (("cuda:0",), 100, 7, 2),
        (("cuda:0",), 100, 8, 1),
        (("cuda:0",), 100, 50, 1),
        (("cuda:0",), 3, 1, 3),
        (("cuda:0",), 0, 1, 1),
        (("cuda:0",), 100, None, 1),
        (TWO_GPUS, 100, 1, 8),
        (TWO_GPUS, 8, 1, 4),
        (TWO_GPUS, 3, 1, 1),
        (("cpu",), 100, 1, 1),
        (("auto",), 100, 1, 1),
        (("mps",), 100, 1, 1),
    ],
)
def test_workers_on_gpus_have_seats_for_tracks_that_fill_a_batch_together(devices, tracks, segments, seats):
    division = Division(devices, 1).seated(tracks=tracks, segments=segments)
    assert (division.devices, division.seats) == (devices, seats)
    assert (division.workers, division.jobs) == (len(devices), len(devices) * seats)


@given(gpus=st.integers(1, 16), tracks=st.integers(0, 1000), segments=st.integers(1, 1000))
def test_no_worker_has_a_seat_without_a_track_or_more_segments_at_once_than_fill_a_batch(gpus, tracks, segments):
    division = Division(tuple(f"cuda:{number}" for number in range(gpus)), 1)
    seated = division.seated(tracks=tracks, segments=segments)
    assert 1 <= seated.seats <= 8
    assert seated.jobs < max(tracks, 1) + gpus
    assert (seated.seats - 1) * segments < 8


@given(
    cores=st.integers(1, 256),
    free=st.none() | st.integers(0, 2**42),
    tracks=st.integers(0, 10_000),
    jobs=st.none() | st.integers(1, 1024),
    threads=st.none() | st.integers(1, 1024),
    seconds=st.floats(0, 1e9),
)
def test_auto_never_asks_for_more_than_there_is(cores, free, tracks, jobs, threads, seconds):
    devices, each = divided(Machine(cores, free), tracks=tracks, jobs=jobs, threads=threads, seconds=seconds)
    count = len(devices)
    assert 1 <= count <= max(1, tracks)
    assert each == threads or (threads is None and count * each <= max(count, cores))
    if jobs is None:
        assert count * each <= max(cores, each)
        assert count == 1 or free is None or count * GIB <= free
    else:
        assert count <= jobs


def test_limits_of_control_groups_are_read_up_to_the_root(tmp_path):
    inner = tmp_path / "system.slice" / "mss.service"
    inner.mkdir(parents=True)
    table = tmp_path / "cgroup"
    table.write_text("12:cpu:/elsewhere\n0::/system.slice/mss.service\n")
    groups = list(_groups(table, tmp_path))
    assert groups == [inner, inner.parent, tmp_path]
    (inner / "cpu.max").write_text("150000 100000\n")
    (inner.parent / "cpu.max").write_text("max 100000\n")
    assert [_quota(group) for group in groups] == [1, None, None]
    (inner / "memory.max").write_text("max\n")
    (inner.parent / "memory.max").write_text("1000000\n")
    (inner.parent / "memory.current").write_text("900000\n")
    (inner.parent / "memory.stat").write_text("anon 500000\ninactive_file 300000\nactive_file 100000\n")
    assert [_free_in(group) for group in groups] == [None, 400_000, None]


def test_a_group_that_leads_out_of_the_root_is_not_followed(tmp_path):
    table = tmp_path / "cgroup"
    table.write_text("0::/../../outside\n")
    assert all(group.is_relative_to(tmp_path) and ".." not in group.parts for group in _groups(table, tmp_path))


def test_free_memory_is_what_the_kernel_calls_available(tmp_path):
    table = tmp_path / "meminfo"
    table.write_text("MemTotal: 24684084 kB\nMemFree: 9397020 kB\nMemAvailable: 15989316 kB\n")
    assert _free_memory(table) == 15_989_316 * 1024
    assert _free_memory(tmp_path / "none") is None


def test_this_machine_has_a_core_and_memory():
    machine = this_machine("cpu")
    assert machine.cores >= 1
    assert machine.free_bytes is None or machine.free_bytes > 0
    assert machine.accelerators == ()


def test_weights_add_to_the_memory_of_a_worker(tmp_path):
    weights = tmp_path / "weights"
    weights.write_bytes(bytes(1000))
    assert worker_bytes([weights, weights]) > worker_bytes([weights]) > worker_bytes([])
    assert worker_bytes([]) == worker_bytes([tmp_path / "none"])
