"""How a cluster is divided: by what each machine carries; and what is said before one is looked for."""

import pytest

from mss_cli.batch.cluster import Node, divide_cluster
from mss_cli.errors import DeviceError, UsageError
from mss_cli.main import main
from signals import write_music

GIB = 1 << 30
BIG = Node(cpus=8, gpus=0, memory_bytes=64 * GIB)
SMALL = Node(cpus=2, gpus=0, memory_bytes=4 * GIB)
WITH_GPUS = Node(cpus=16, gpus=4, memory_bytes=64 * GIB)


def divided(*nodes, tracks=100, seconds=1e9, jobs=None, threads=None, device="auto"):
    return divide_cluster(
        nodes, tracks=tracks, seconds=seconds, jobs=jobs, threads=threads, device=device, worker_bytes=3 * GIB
    )


@pytest.mark.parametrize(
    ("nodes", "asked", "workers", "threads", "device"),
    [
        ([BIG, BIG], {}, 16, 1, "cpu"),
        ([BIG, SMALL], {}, 9, 1, "cpu"),  # the small one has memory for one
        ([BIG, BIG], {"threads": 3}, 4, 3, "cpu"),  # no worker lies across two machines
        ([BIG, BIG], {"tracks": 5}, 5, 1, "cpu"),
        ([BIG, BIG], {"seconds": 200.0}, 3, 1, "cpu"),
        ([BIG], {"jobs": 20}, 20, 1, "cpu"),  # those who ask for more wait for machines
        ([], {}, 1, 1, "cpu"),
        ([BIG, WITH_GPUS], {}, 4, 1, "cuda"),
        ([BIG, WITH_GPUS], {"device": "cuda", "threads": 8}, 2, 8, "cuda"),
        ([BIG, WITH_GPUS], {"device": "cpu"}, 24, 1, "cpu"),
    ],
)
def test_machines_get_as_many_workers_as_they_carry(nodes, asked, workers, threads, device):
    division = divided(*nodes, **asked)
    assert (division.devices, division.threads) == ((device,) * workers, threads)


@pytest.mark.parametrize("device", ["cuda:1", "mps"])
def test_a_cluster_chooses_the_gpu_itself(device):
    with pytest.raises(UsageError):
        divided(WITH_GPUS, device=device)


def test_a_gpu_that_no_machine_has_is_not_waited_for():
    with pytest.raises(DeviceError):
        divided(BIG, device="cuda")


@pytest.fixture
def command(tmp_path):
    song = write_music(tmp_path / "a.wav", seconds=0.3)
    return ["separate", str(song), "-o", str(tmp_path / "out"), "-m", "classical"]


def test_a_missing_extra_is_one_line(command, capsys, monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    assert main([*command, "--engine", "ray"]) == 2
    assert capsys.readouterr().err == "error: `--engine ray` needs Ray; install `mss-cli[ray]`\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--engine", "dask"], "`--engine dask` is neither `local` nor `ray`"),
        (["--ray-address", "head"], "`--ray-address` is for `--engine ray`"),
        (["--engine", "ray", "--nice", "3"], "`--nice` does not reach the machines of a cluster"),
        (["--engine", "ray", "-"], "the machines of a cluster do not read this stdin"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(command, more, said, capsys):
    assert main([*command, *more]) == 2
    assert said in capsys.readouterr().err
