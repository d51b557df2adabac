"""Whole tracks through Open-Unmix block by block: equal to all at once, in bounded memory, at any length."""

import dataclasses

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from mss_models.networks.open_unmix.separator import OpenUnmixSeparator, OpenUnmixSettings
from mss_models.networks.open_unmix.track import separate_track
from mss_models.stft import StftSettings
from mss_models.tracks import MemoryStore
from open_unmix_peer import randomize

CPU = torch.device("cpu")
SMALL = OpenUnmixSettings(("low", "high"), 8000, 2, StftSettings(128, 32), 40, hidden_size=12, wiener_frames=30)
VARIANTS = {
    "three layers": SMALL,
    "two layers": dataclasses.replace(SMALL, layers=2, residual="rest"),
    "one layer": dataclasses.replace(SMALL, layers=1, wiener_frames=0),
    "average": dataclasses.replace(SMALL, crossing="average"),
    "concatenate": dataclasses.replace(SMALL, crossing="concatenate"),
    "one direction": dataclasses.replace(SMALL, bidirectional=False),
    "one direction, average": dataclasses.replace(SMALL, bidirectional=False, crossing="average"),
    "one stem": dataclasses.replace(SMALL, network_stems=("low",), wiener_iterations=0),
    "no window": dataclasses.replace(SMALL, wiener_frames=0, wiener_iterations=0),
    "mono": dataclasses.replace(SMALL, channels=1),
}


@pytest.fixture(autouse=True)
def short_blocks(monkeypatch):
    """Several blocks in a short track."""
    monkeypatch.setattr("mss_models.networks.open_unmix.track._BLOCK_FRAMES", 23)


def separator(chosen: OpenUnmixSettings) -> OpenUnmixSeparator:
    torch.manual_seed(0)
    made = OpenUnmixSeparator(chosen).eval()
    for place, network in enumerate(made.members):
        randomize(network, place)
    made.prepare(CPU, "fp32")
    return made


def noise(channels: int, samples: int) -> Tensor:
    return torch.randn(channels, samples, generator=torch.Generator().manual_seed(1))


def whole(made: OpenUnmixSeparator, mixture: Tensor, *, block: int, stores: list | None = None) -> Tensor:
    def new_store(width, dtype):
        store = MemoryStore(width, dtype)
        if stores is not None:
            stores.append((store, width, dtype))
        return store

    parts = separate_track(made, lambda: iter(mixture.split(block, dim=-1)), new_store, device=CPU)
    return torch.cat(list(parts), dim=-1)


@pytest.mark.parametrize("variant", VARIANTS)
def test_block_by_block_gives_what_all_at_once_gives(variant):
    made = separator(VARIANTS[variant])
    mixture = noise(made.channels, 4321)
    expected = made.separate(mixture[None])[0]
    assert_close(whole(made, mixture, block=777), expected, rtol=0, atol=1e-6 * float(expected.abs().max()))


@pytest.mark.parametrize("samples", [1, 5, 64, 65, 32 * 23, 32 * 22 - 1, 32 * 46])
@pytest.mark.parametrize("block", [13, 10_000])
def test_any_length_in_any_blocks(samples, block):
    made = separator(SMALL)
    mixture = noise(2, samples)
    expected = made.separate(mixture[None])[0]
    actual = whole(made, mixture, block=block)
    assert_close(actual, expected, rtol=0, atol=1e-6 * float(expected.abs().max()))


def test_a_track_without_samples_gives_none():
    made = separator(SMALL)
    assert list(separate_track(made, lambda: iter([]), MemoryStore, device=CPU)) == []


@pytest.mark.parametrize("variant", ["three layers", "two layers", "average", "one direction"])
def test_stores_hold_what_is_said(variant):
    made = separator(VARIANTS[variant])
    stores: list = []
    whole(made, noise(2, 32 * 99), block=500, stores=stores)
    held = sum(store.read(0, 10**6).numel() * dtype.itemsize for store, _, dtype in stores)
    frames_per_second = made.sample_rate / made.transform.hop_length
    assert held == pytest.approx(made.store_bytes_per_second() * 100 / frames_per_second)


def test_what_is_read_and_written_at_once_does_not_grow_with_the_track():
    made = separator(SMALL)
    largest = {}
    for samples in (4000, 16_000):
        sizes = []

        class Watched(MemoryStore):
            def write(self, first, rows, sizes=sizes):
                sizes.append(rows.numel())
                super().write(first, rows)

            def read(self, first, count, sizes=sizes):
                sizes.append(count)
                return super().read(first, count)

        blocks = noise(2, samples).split(300, dim=-1)
        parts = [part.shape[-1] for part in separate_track(made, lambda it=blocks: it, Watched, device=CPU)]
        largest[samples] = (max(sizes), max(parts))
    assert largest[4000] == largest[16_000]


def test_progress_rises_to_1():
    made = separator(SMALL)
    mixture, seen = noise(2, 5000), []
    for _ in separate_track(
        made, lambda: iter(mixture.split(500, dim=-1)), MemoryStore, device=CPU, on_progress=seen.append
    ):
        pass
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(1)
    assert len(set(seen)) > 10


def test_estimates_may_be_changed_in_place():
    made = separator(SMALL)
    mixture = noise(2, 2000)

    def parts():
        return separate_track(made, lambda: iter(mixture.split(500, dim=-1)), MemoryStore, device=CPU)

    expected = torch.cat(list(parts()), dim=-1)
    changed = torch.cat([part.mul_(2).clone() for part in parts()], dim=-1)
    assert torch.equal(changed, 2 * expected)  # what is given is nobody else's memory


def test_rows_are_replaced_and_read_back():
    store = MemoryStore(3, torch.float32)
    rows = noise(10, 3)
    store.write(0, rows[:6])
    store.write(6, rows[6:])
    store.write(2, -rows[2:5])
    assert torch.equal(store.read(1, 5), torch.cat([rows[1:2], -rows[2:5], rows[5:6]]))


def test_segments_come_nearer_to_the_whole_track_the_more_context_they_have():
    made = separator(VARIANTS["no window"])
    mixture = noise(2, 8000)
    expected = made.separate(mixture[None])[0][..., 3000:4000]
    errors = []
    for context in (320, 1280, 2560):
        segment = mixture[:, 3008 - context : 3968 + context]
        part = made.separate(segment[None])[0][..., context + 100 : context + 800]
        errors.append(float((part - expected[..., 108:808]).norm()))
    assert errors[0] > errors[1] >= errors[2]
    assert errors[2] < 1e-3 * float(expected.norm())
