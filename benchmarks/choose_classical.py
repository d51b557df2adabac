"""Choose the constants of the classical separator on practice songs.

    python benchmarks/choose_classical.py ../shared/data/stems-v1 > models/mss_models/classical/cue_weights.py

Plays songs from ``train/`` (some of them narrowed or folded to mono), draws cells in proportion to their energy,
and climbs the SDR above the best constant gain per stem, careful of songs below it, with a penalty on large
constants. Progress and the result, on these songs and on songs from ``valid/``, go to stderr.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mss_models.classical.cues import CUE_NAMES, CueSettings, cues, interpolation_over_log_frequency, make_bands
from mss_models.classical.panning import mid_side
from mss_models.stft import StftSettings, stft
from practice_songs import STEMS, play_song

CUE_KNOTS_HZ = (80.0, 250.0, 1000.0, 4000.0)
OFFSET_KNOTS_HZ = (30.0, 60.0, 100.0, 160.0, 250.0, 400.0, 800.0, 1600.0, 3200.0, 6400.0, 12800.0)
TRAIN_SONGS, VALID_SONGS, CELLS, STEPS = 96, 12, 8000, 100
LEVEL_POWER = 1.0  # of the share a stem seems to hold of the segment: a step of expectation-maximisation
SHARE_FLOOR = 1e-3  # a stem that seems absent from a segment counts as 30 dB below the mixture
# The gain over the best constant, in dB, is valued by exp(-gain / 4): a stem 3 dB below it weighs as much as four
# that are 3 dB above. The mean alone gave 0.05 dB more and nearly twice as many stems below.
CAUTION_DB = 4.0
NARROWED = {0: 0.3, 5: 0.0}  # of every ten songs, these are heard a second time with the side scaled so
PENALTY = 4e-3  # dB per squared difference; 1e-2 gave the same mean on the valid songs within 0.03 dB
HEADER = '''"""Constants of the classical separator.

Written by ``benchmarks/choose_classical.py``: chosen on songs played from ``stems-v1/train``, checked on songs
played from ``stems-v1/valid``, and on no other music. Columns are vocals, drums, bass, other; rows are the knots
of frequency, linear in log frequency between them. Natural logarithms of shares: adding one number to a whole row
changes nothing. The power of the levels comes last, and the power
of all masks, which alone was chosen on the songs from ``valid``.
"""

# fmt: off
'''


# What is expected of the cues before any song is heard; the constants are drawn towards it.
EXPECTED = {
    "harmonic": (0.2, -1.2, 0.5, 0.5),
    "rise": (-0.2, 0.8, -0.3, -0.3),
    "waver": (0.5, 0.0, -0.2, -0.3),
    "side": (-0.8, -0.2, -0.8, 1.8),
    "off_usual_side": (-0.3, 0.0, -0.3, 0.6),
    "repeating": (-0.8, 0.4, 0.2, 0.2),
    "repeating_around": (-0.4, 0.2, 0.1, 0.1),
    "attack": (-0.2, 0.6, -0.2, -0.2),
    "band_attack": (-0.2, 0.5, -0.2, -0.1),
    "presence": (0.4, -0.2, 0.0, -0.2),
}
EXPECTED_OFFSETS = (
    (-2.0, 0.5, 1.5, -1.0), (-2.0, 0.5, 1.5, -1.0), (-1.5, 0.2, 1.5, -0.5), (-0.5, 0.0, 1.0, 0.0), (0.2, 0.0, 0.3, 0.3),
    (0.5, 0.0, -0.7, 0.5), (0.6, 0.0, -1.5, 0.6), (0.6, 0.0, -2.0, 0.5), (0.5, 0.2, -2.2, 0.4), (0.2, 0.6, -2.5, 0.2),
    (-0.2, 1.0, -2.5, -0.2),
)  # fmt: skip
EXPECTED_SIDE = (-1.0, 0.0, -1.0, 1.5)


@dataclass(frozen=True, slots=True)
class Sample:
    """Cells drawn from a song; products are weighted so that their sums estimate those over the whole song.

    `cues` (cell, cue), `offsets` (cell, knot), `knots` (cell, knot), `energy` (2, cell), `products` (stem, 2, cell):
    real part of stem times conjugate mixture, `levels` (stem,): energy of each stem, `floor` (stem,): SDR of the
    best constant gain, dB.
    """

    cues: Tensor
    offsets: Tensor
    knots: Tensor
    energy: Tensor
    products: Tensor
    levels: Tensor
    floor: Tensor


def sample(stems: Tensor, generator: torch.Generator) -> Sample:
    """Draw the cells of one song of shape (stem, channel, sample)."""
    transform, settings = StftSettings(4096, 1024), CueSettings()
    frequencies = torch.arange(transform.bins) * (44100 / transform.n_fft)
    spectra = stft(mid_side(stems), transform)  # (stem, 2, bin, frame)
    mixture = spectra.sum(dim=0)
    energy = mixture.abs().square()
    products, own = (spectra * mixture.conj()).real, spectra.abs().square()
    levels = own.sum(dim=(1, 2, 3))
    likely = (energy.sum(dim=0) + own.sum(dim=(0, 1))).flatten()
    likely /= likely.sum()
    cells = torch.multinomial(likely, CELLS, replacement=True, generator=generator)
    weight = 1 / (likely[cells] * CELLS)
    found = cues(mixture, frequencies, make_bands(frequencies, settings.bands), settings)
    heard = torch.stack([cue.expand_as(mixture[0].real).flatten()[cells] for cue in found], dim=1)
    where = frequencies[cells // mixture.shape[-1]]
    correlation = products.sum(dim=(1, 2, 3)).square() / (energy.sum() * levels.clamp(min=1e-9))
    return Sample(
        cues=heard,
        offsets=interpolation_over_log_frequency(where, torch.tensor(OFFSET_KNOTS_HZ)),
        knots=interpolation_over_log_frequency(where, torch.tensor(CUE_KNOTS_HZ)),
        energy=energy.flatten(1)[:, cells] * weight,
        products=products.flatten(2)[:, :, cells] * weight,
        levels=levels,
        floor=-10 * torch.log10(1 - correlation),
    )


def play(root: Path, split: str, count: int) -> list[Sample]:
    """Play the songs of a split and draw their cells."""
    samples = []
    for seed in range(count):
        generator = torch.Generator().manual_seed(seed)
        stems = torch.from_numpy(play_song(root, split=split, seed=seed).stems)
        for width in (1.0, NARROWED.get(seed % 10)):
            if width is not None:
                middle = stems.mean(dim=1, keepdim=True)
                samples.append(sample(middle + width * (stems - middle), generator))
        print(f"{split} {seed + 1}/{count}", file=sys.stderr)
    return samples


@dataclass(frozen=True, slots=True)
class Constants:
    """The table being chosen: `weights` (cue and knot, stem), `offsets` and `side_offsets` (knot, stem)."""

    weights: Tensor
    offsets: Tensor
    side_offsets: Tensor

    @classmethod
    def expected(cls) -> "Constants":
        cue = [[EXPECTED.get(name, (0.0,) * 4)] * len(CUE_KNOTS_HZ) for name in CUE_NAMES]
        side = torch.tensor([EXPECTED_SIDE] * len(OFFSET_KNOTS_HZ))
        return cls(torch.tensor(cue).flatten(0, 1), torch.tensor(EXPECTED_OFFSETS), side)

    def all(self) -> tuple[Tensor, ...]:
        return self.weights, self.offsets, self.side_offsets


@dataclass(frozen=True, slots=True)
class Songs:
    """The samples of several songs, stacked along a first axis; `design` (song, cell, cue and knot)."""

    design: Tensor
    knots: Tensor
    offsets: Tensor
    energy: Tensor
    products: Tensor
    levels: Tensor
    floor: Tensor

    @classmethod
    def of(cls, samples: list[Sample]) -> "Songs":
        design = torch.stack([(s.cues.unsqueeze(2) * s.knots.unsqueeze(1)).flatten(1) for s in samples])
        names = ("knots", "offsets", "energy", "products", "levels", "floor")
        return cls(design, *(torch.stack([getattr(s, name) for s in samples]) for name in names))

    def masks(self, constants: Constants, confidence: float) -> Tensor:
        """Masks of middle and side, (song, 2, cell, stem), as the separator makes them."""
        middle = self.design @ constants.weights + self.offsets @ constants.offsets  # (song, cell, stem)
        logits = torch.stack([middle, middle + self.offsets @ constants.side_offsets], dim=1)
        held = (logits.softmax(dim=-1) * self.energy.unsqueeze(-1)).sum(dim=1)  # (song, cell, stem)
        held = self.knots.transpose(1, 2) @ held  # (song, knot, stem)
        shares = held / held.sum(dim=2, keepdim=True).clamp(min=1e-9)
        prior = self.knots @ (LEVEL_POWER * (shares + SHARE_FLOOR).log())
        return (confidence * (logits + prior.unsqueeze(1))).softmax(dim=-1)

    def gain(self, constants: Constants, confidence: float = 1.0) -> Tensor:
        """SDR above that of the best constant, dB, (song, stem); NaN where the song lacks the stem."""
        masks = self.masks(constants, confidence).permute(0, 3, 1, 2)  # (song, stem, 2, cell)
        error = self.levels - 2 * (masks * self.products).sum(dim=(2, 3))
        error = error + (masks.square() * self.energy.unsqueeze(1)).sum(dim=(2, 3))
        there = self.levels > 1e-3 * self.levels.amax(dim=1, keepdim=True)
        sdr = -10 * torch.log10((error / self.levels.clamp(min=1e-9)).clamp(min=1e-4))
        return torch.where(there, sdr - self.floor, torch.nan)

    def regret(self, constants: Constants, confidence: float = 1.0) -> Tensor:
        """What is minimised: the mean of ``exp(-gain / CAUTION_DB)`` times `CAUTION_DB`."""
        return (CAUTION_DB * torch.exp(-self.gain(constants, confidence) / CAUTION_DB)).nanmean()


def choose(songs: Songs) -> Constants:
    """Climb from the expected constants with L-BFGS; each row of the result sums to 0 over the stems."""
    expected = Constants.expected()
    constants = Constants(*(table.clone().requires_grad_() for table in expected.all()))
    climb = torch.optim.LBFGS(constants.all(), max_iter=STEPS, history_size=20, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        climb.zero_grad()
        value = songs.regret(constants)
        for table, prior in zip(constants.all(), expected.all(), strict=True):
            value = value + PENALTY * (table - prior).square().sum()
        value.backward()
        return value

    climb.step(loss)
    tables = (table.detach() for table in constants.all())
    return Constants(*(table - table.mean(dim=1, keepdim=True) for table in tables))


def rows(values: Tensor, indent: str) -> str:
    return "".join(indent + "(" + ", ".join(f"{value:.2f}" for value in row) + "),\n" for row in values.tolist())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, help="folder with train/ and valid/")
    root = parser.parse_args().root
    practice, check = (Songs.of(play(root, s, n)) for s, n in (("train", TRAIN_SONGS), ("valid", VALID_SONGS)))
    constants = choose(practice)
    # Evidence learnt on some instruments is a little too sure of itself on others.
    confidence = min((step / 10 for step in range(5, 11)), key=lambda tried: float(check.regret(constants, tried)))
    for name, songs in (("train", practice), ("valid", check)):
        gain = songs.gain(constants, confidence)
        below = (gain < 0).sum() / gain.isfinite().sum()
        means = ", ".join(
            f"{stem} {value:+.2f}" for stem, value in zip(STEMS, gain.nanmean(dim=0).tolist(), strict=True)
        )
        print(f"{name}: dB above the best constant: {means}; {below:.0%} of the stems are below it", file=sys.stderr)
    weights = constants.weights.reshape(len(CUE_NAMES), len(CUE_KNOTS_HZ), 4)
    print(HEADER + f"CUE_KNOTS_HZ = {CUE_KNOTS_HZ}\nCUE_WEIGHTS = (")
    for name, table in zip(CUE_NAMES, weights, strict=True):
        print(f'    ("{name}", (\n{rows(table, " " * 8)}    )),')
    print(f")\nOFFSET_KNOTS_HZ = {OFFSET_KNOTS_HZ}")
    for name, table in (("OFFSETS", constants.offsets), ("SIDE_OFFSETS", constants.side_offsets)):
        print(f"{name} = (\n{rows(table, ' ' * 4)})")
    print(f"LEVEL_POWER = {LEVEL_POWER}\nSHARE_FLOOR = {SHARE_FLOOR}\nCONFIDENCE = {confidence}")


if __name__ == "__main__":
    main()
