"""Choose the constants of the classical separator on practice songs.

    python benchmarks/choose_classical.py ../shared/data/stems-v1 > models/mss_models/classical/cue_weights.py

Plays songs from ``train/`` (some of them narrowed or folded to mono), draws cells in proportion to their energy,
and climbs the mean SDR over songs and stems with a penalty on large constants. Progress and the gains over the
best constant gain, on these songs and on songs from ``valid/``, go to stderr.
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
TRAIN_SONGS, VALID_SONGS, CELLS = 42, 8, 16000
NARROWED = {0: 0.3, 5: 0.0}  # of every ten songs, these are heard a second time with the side scaled so
PENALTY = 2e-3  # dB per squared constant; 1e-3 to 5e-3 gave the same mean on the valid songs within 0.02 dB
HEADER = '''"""Constants of the classical separator.

Written by ``benchmarks/choose_classical.py``: chosen on songs played from ``stems-v1/train``, checked on songs
played from ``stems-v1/valid``, and on no other music. Columns are vocals, drums, bass, other; rows are the knots
of frequency, linear in log frequency between them. Natural logarithms of shares: adding one number to a whole row
changes nothing.
"""

# fmt: off
'''


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
    generator, samples = torch.Generator().manual_seed(0), []
    for seed in range(count):
        stems = torch.from_numpy(play_song(root, split=split, seed=seed).stems)
        for width in (1.0, NARROWED.get(seed % 10)):
            if width is not None:
                middle = stems.mean(dim=1, keepdim=True)
                samples.append(sample(middle + width * (stems - middle), generator))
        print(f"{split} {seed + 1}/{count}", file=sys.stderr)
    return samples


@dataclass(frozen=True, slots=True)
class Songs:
    """The samples of several songs, stacked along a first axis."""

    design: Tensor
    offsets: Tensor
    energy: Tensor
    products: Tensor
    levels: Tensor
    floor: Tensor

    @classmethod
    def of(cls, samples: list[Sample]) -> "Songs":
        design = torch.stack([(s.cues.unsqueeze(2) * s.knots.unsqueeze(1)).flatten(1) for s in samples])
        return cls(design, *(torch.stack([getattr(s, n) for s in samples]) for n in cls.__slots__[1:]))

    def sdr(self, weights: Tensor, offsets: Tensor, side: Tensor) -> Tensor:
        """SDR in dB, (song, stem); NaN where the song lacks the stem."""
        middle = self.design @ weights + self.offsets @ offsets  # (song, cell, stem)
        masks = torch.stack([middle, middle + self.offsets @ side], dim=1).softmax(dim=-1).permute(0, 3, 1, 2)
        error = self.levels - 2 * (masks * self.products).sum(dim=(2, 3))
        error = error + (masks.square() * self.energy.unsqueeze(1)).sum(dim=(2, 3))
        there = self.levels > 1e-3 * self.levels.amax(dim=1, keepdim=True)
        return torch.where(there, -10 * torch.log10((error / self.levels.clamp(min=1e-9)).clamp(min=1e-4)), torch.nan)


def choose(songs: Songs) -> tuple[Tensor, Tensor, Tensor]:
    """Climb from zero with L-BFGS; the sums over the stems of the result are 0."""
    shapes = ((songs.design.shape[-1], 4), (len(OFFSET_KNOTS_HZ), 4), (len(OFFSET_KNOTS_HZ), 4))
    constants = [torch.zeros(shape, requires_grad=True) for shape in shapes]
    climb = torch.optim.LBFGS(constants, max_iter=150, history_size=20, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        climb.zero_grad()
        value = -songs.sdr(*constants).nanmean() + PENALTY * sum(c.square().sum() for c in constants)
        value.backward()
        return value

    climb.step(loss)
    weights, offsets, side = (c.detach() - c.detach().mean(dim=1, keepdim=True) for c in constants)
    return weights, offsets, side


def rows(values: Tensor) -> str:
    return ", ".join("(" + ", ".join(f"{value:.2f}" for value in row) + ")" for row in values.tolist())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, help="folder with train/ and valid/")
    root = parser.parse_args().root
    practice, check = (Songs.of(play(root, s, n)) for s, n in (("train", TRAIN_SONGS), ("valid", VALID_SONGS)))
    constants = choose(practice)
    for name, songs in (("train", practice), ("valid", check)):
        gain = (songs.sdr(*constants) - songs.floor).nanmean(dim=0)
        print(name, dict(zip(STEMS, gain.tolist(), strict=True)), file=sys.stderr)
    weights = constants[0].reshape(len(CUE_NAMES), len(CUE_KNOTS_HZ), 4)
    print(HEADER + f"CUE_KNOTS_HZ = {CUE_KNOTS_HZ}\nCUE_WEIGHTS = (")
    for name, table in zip(CUE_NAMES, weights, strict=True):
        print(f'    ("{name}", ({rows(table)})),')
    print(f")\nOFFSET_KNOTS_HZ = {OFFSET_KNOTS_HZ}")
    for name, table in (("OFFSETS", constants[1]), ("SIDE_OFFSETS", constants[2])):
        print(f"{name} = (\n    {rows(table).replace('), (', '),' + chr(10) + '    (')},\n)")


if __name__ == "__main__":
    main()
