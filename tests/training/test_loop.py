import csv
import itertools
import math

import numpy as np
import pytest
import torch

from mss_cli.errors import DivergedError, UsageError
from mss_cli.training.batches import Batch, loader
from mss_cli.training.clock import Clock
from mss_cli.training.curves import Curves, read_curves
from mss_cli.training.examples import Example
from mss_cli.training.loop import MAX_LOST_UPDATES, Machine, fit
from mss_cli.training.objective import SeparationObjective
from mss_cli.training.recipe import Optimizer, Training
from mss_models.catalog import build
from mss_models.losses import Term

SETTINGS = {
    "stems": ["vocals"], "sample_rate": 8192, "channels": 1, "n_fft": 64, "hop_length": 32, "bins": 32,
    "head": "sigmoid", "segment_frames": 16, "levels": 2, "base_channels": 4, "dropout_layers": 1,
}  # fmt: skip
CPU = Machine(accelerator="cpu", devices=1, precision="fp32")
SLOW = Optimizer(learning_rate=1e-2)


class Noise:
    """Examples of noise, functions of their key; those of the steps in `broken` are not numbers."""

    def __init__(self, broken=()):
        self.broken = broken

    def __getitem__(self, key):
        random = np.random.default_rng([7, key.step, key.place])
        stems = random.standard_normal((2, 1, 256)).astype(np.float32)
        if key.step in self.broken:
            stems[:] = np.nan
        return Example(stems=stems, salience=None, seed=int(random.integers(2**31)))


class Recorder:
    """Hooks that keep what they are told, and can end the process's work after some step as a kill would."""

    def __init__(self, kill_after=None):
        self.reports, self.saves, self.restored, self.kill_after = [], [], None, kill_after

    def after_step(self, report, averaged):
        self.reports.append(report)
        if report.step == self.kill_after:
            raise KilledHere

    def saved(self, step, averaged):
        self.saves.append(step)

    def finish(self, step, averaged):
        self.finished = step

    def state(self):
        return {"seconds": float(len(self.reports))}

    def restore(self, state):
        self.restored = state


class KilledHere(BaseException):
    """Stands for a signal."""


def train(folder, *, training=None, resume=None, hooks=None, examples=None, workers=0, max_minutes=None):
    training = training or Training(steps=6, batch=2, accumulate=2, ema=0.9, clip=1.0, checkpoint_minutes=1e-9)
    torch.manual_seed(0)
    network = build("unet", SETTINGS)
    hooks = hooks or Recorder()

    def batches(start, rank, world):
        return loader(
            examples or Noise(), batch=training.batch, start=start, accumulate=training.accumulate, workers=workers,
            rank=rank, world=world,
        )  # fmt: skip

    fitted = fit(
        network, SeparationObjective(network, ["vocals", "other"], [Term("magnitude-l1")]), batches,
        augment=lambda batch: batch, training=training, optimizer=SLOW, machine=CPU, hooks=hooks,
        clock=Clock(checkpoint_minutes=training.checkpoint_minutes, max_minutes=max_minutes),
        state=folder / "state.ckpt", resume=resume, tensorboard=folder / "tensorboard",
    )  # fmt: skip
    return network, hooks, fitted


def same_bits(one, other):
    return all(torch.equal(one[key], other[key]) for key in one)


def state_of(folder):
    return torch.load(folder / "state.ckpt", weights_only=True)["state_dict"]


@pytest.mark.parametrize("kill_after", [1, 2, 4])
def test_a_killed_run_resumes_to_the_bits_of_an_uninterrupted_one(tmp_path, kill_after):
    train(tmp_path / "whole")
    with pytest.raises(KilledHere):
        train(tmp_path / "killed", hooks=Recorder(kill_after=kill_after))
    resume = tmp_path / "killed" / "state.ckpt"
    hooks = Recorder()
    train(tmp_path / "killed", resume=resume if resume.exists() else None, hooks=hooks)
    assert hooks.reports[0].step <= kill_after + 1
    assert hooks.reports[-1].step == 6
    whole, killed = state_of(tmp_path / "whole"), state_of(tmp_path / "killed")
    assert whole.keys() == killed.keys()
    assert same_bits(whole, killed)


@pytest.mark.parametrize("interval", range(5, 12))
def test_a_state_written_at_any_time_resumes_to_the_same_bits_with_accumulated_batches(tmp_path, monkeypatch, interval):
    """Every look at the clock takes a second, so that intervals end before and within updates."""
    ticks = itertools.count()
    monkeypatch.setattr("mss_cli.training.clock.time.monotonic", lambda: float(next(ticks)))
    training = Training(steps=6, batch=1, accumulate=3, checkpoint_minutes=interval / 60)
    train(tmp_path / "whole", training=training)
    with pytest.raises(KilledHere):
        train(tmp_path / "killed", training=training, hooks=Recorder(kill_after=4))
    state = tmp_path / "killed" / "state.ckpt"
    assert torch.load(state, weights_only=True)["global_step"] in (1, 2, 3)
    train(tmp_path / "killed", training=training, resume=state)
    assert same_bits(state_of(tmp_path / "whole"), state_of(tmp_path / "killed"))


def test_a_run_in_two_processes_of_loading_gives_the_same_bits(tmp_path):
    train(tmp_path / "here")
    train(tmp_path / "there", workers=1)
    assert same_bits(state_of(tmp_path / "here"), state_of(tmp_path / "there"))


def test_another_seed_gives_other_weights(tmp_path):
    training = Training(steps=2, batch=2, checkpoint_minutes=1e-9)
    train(tmp_path / "one", training=training)
    train(tmp_path / "other", training=training.model_copy(update={"seed": 1}))
    assert not same_bits(state_of(tmp_path / "one"), state_of(tmp_path / "other"))


def test_an_update_without_finite_gradient_changes_nothing_and_is_counted(tmp_path):
    hooks = Recorder()
    network, _, fitted = train(tmp_path, hooks=hooks, examples=Noise(broken=(2,)))
    assert fitted.step == 6
    assert [report.lost_updates for report in hooks.reports] == [0, 0, 1, 1, 1, 1]
    assert all(bool(weight.isfinite().all()) for weight in network.state_dict().values())
    averaged = {key: value for key, value in state_of(tmp_path).items() if key.startswith("average.")}
    assert averaged
    assert all(bool(weight.isfinite().all()) for weight in averaged.values())


def test_a_training_that_stays_without_numbers_ends_as_diverged(tmp_path):
    training = Training(steps=1000, batch=1)
    with pytest.raises(DivergedError, match="finite gradient"):
        train(tmp_path, training=training, examples=Noise(broken=range(1000)))
    assert MAX_LOST_UPDATES < 1000


def test_the_time_limit_stops_between_updates_and_keeps_the_state(tmp_path):
    hooks = Recorder()
    _, _, fitted = train(tmp_path, hooks=hooks, max_minutes=1e-9)
    assert fitted.out_of_time
    assert fitted.step == 1
    assert torch.load(tmp_path / "state.ckpt", weights_only=True)["global_step"] == 1
    _, _, rest = train(tmp_path, resume=tmp_path / "state.ckpt")
    assert (rest.step, rest.out_of_time) == (6, False)
    train(tmp_path / "whole")
    assert same_bits(state_of(tmp_path), state_of(tmp_path / "whole"))


def test_the_hooks_get_back_what_they_kept(tmp_path):
    train(tmp_path, hooks=Recorder(), max_minutes=1e-9)
    hooks = Recorder()
    train(tmp_path, resume=tmp_path / "state.ckpt", hooks=hooks)
    assert hooks.restored == {"seconds": 1.0}


def test_a_state_of_another_network_is_refused(tmp_path):
    train(tmp_path, training=Training(steps=1, batch=1, ema=0.5))
    with pytest.raises(UsageError, match="another network"):
        train(tmp_path, training=Training(steps=2, batch=1), resume=tmp_path / "state.ckpt")


def test_accumulated_batches_give_the_gradient_of_one_large_batch(tmp_path):
    """Without batch norm in the way: the first update moves every weight by the sign of its gradient (Adam)."""
    reports = []
    for batch, accumulate in ((4, 1), (2, 2)):
        hooks = Recorder()
        training = Training(steps=1, batch=batch, accumulate=accumulate)
        train(tmp_path / f"{batch}", training=training, hooks=hooks)
        reports.append(hooks.reports[0].terms["total"])
    assert reports[0] == pytest.approx(reports[1], rel=0.2)  # batch norm sees other batches: near, not equal


def test_batches_move_whole():
    batch = Batch(torch.ones(1, 2, 1, 4), torch.ones(1, 360, 2), torch.zeros(1, dtype=torch.int64))
    moved = batch.to(torch.device("cpu"))
    assert torch.equal(moved.stems, batch.stems)
    assert moved.salience is not None


def test_curves_keep_what_was_done_before_and_drop_what_is_done_again(tmp_path):
    curves = Curves(tmp_path / "curves.csv", step=0)
    for step in (1, 2, 3):
        curves.add(step, float(step), "train", {"total": step / 10})
    again = Curves(tmp_path / "curves.csv", step=2)
    again.add(3, 3.5, "train", {"total": math.nan})
    points = read_curves(tmp_path / "curves.csv")
    assert [(point.step, point.seconds) for point in points] == [(1, 1.0), (2, 2.0), (3, 3.5)]
    with (tmp_path / "curves.csv").open() as file:
        assert next(csv.reader(file)) == ["step", "seconds", "kind", "name", "value"]


def test_a_line_of_the_curves_that_a_kill_cut_short_is_left_out(tmp_path):
    Curves(tmp_path / "curves.csv", step=0).add(1, 1.0, "train", {"total": 0.5})
    with (tmp_path / "curves.csv").open("a") as file:
        file.write("2,2.0,tra")
    assert [point.step for point in read_curves(tmp_path / "curves.csv")] == [1]
