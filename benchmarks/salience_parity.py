"""Largest differences of the harmonic CQT and of Deep Salience to known answers and to librosa.

``python benchmarks/salience_parity.py`` reads the published weights and the answers of the original code from
``../shared/checkpoints/deep-salience``, and runs librosa beside our transform on the same music.
"""

from pathlib import Path

import librosa
import numpy as np
import soundfile
import soxr
import torch
from safetensors.torch import load_file

from mss_models.harmonic_cqt import HARMONICS, HarmonicCqt, levels
from mss_models.networks.deep_salience import TASKS, DeepSalience
from mss_models.salience import BINS, BINS_PER_OCTAVE, LOWEST_HZ

PUBLISHED = Path(__file__).resolve().parents[2] / "shared" / "checkpoints" / "deep-salience"
RATE, HOP = 22_050, 256


def main() -> None:
    torch.set_num_threads(1)
    audio, rate = soundfile.read(PUBLISHED / "input_2s.flac", dtype="float32", always_2d=True)
    mono = soxr.resample(audio.mean(axis=1), rate, RATE).astype(np.float32)
    ours = HarmonicCqt()(torch.from_numpy(mono)[None])[0]  # (harmonic, bin, frame)
    theirs = np.stack([cqt(mono, harmonic) for harmonic in HARMONICS])
    print("| what | largest difference |\n|---|---|")
    print(f"| harmonic CQT against librosa {librosa.__version__}, magnitude | {largest(ours, theirs):.1e} |")
    known = np.load(PUBLISHED / "known_hcqt_2s.npz")["hcqt"]
    print(f"| its levels against the known answer | {largest(levels(ours[None])[0], known):.1e} |")
    noise, music = np.load(PUBLISHED / "known_net_random.npz"), np.load(PUBLISHED / "known_salience_2s.npz")
    for task in TASKS:
        network = DeepSalience.from_weights(load_file(PUBLISHED / f"{task}.safetensors"))
        on_noise = network(torch.from_numpy(noise["net_in"])[None])[0]
        on_music = network(torch.from_numpy(known)[None])[0]
        print(f"| network `{task}`, random input | {largest(on_noise, noise[f'net_out_{task}']):.1e} |")
        print(f"| network `{task}`, music | {largest(on_music, music[f'salience_{task}']):.1e} |")


def cqt(mono: np.ndarray, harmonic: float) -> np.ndarray:
    transform = librosa.cqt(
        mono, sr=RATE, hop_length=HOP, fmin=LOWEST_HZ * harmonic, n_bins=BINS, bins_per_octave=BINS_PER_OCTAVE
    )
    return np.abs(transform)


def largest(one: torch.Tensor, other: np.ndarray) -> float:
    return float(np.abs(one.detach().numpy() - other).max())


if __name__ == "__main__":
    main()
