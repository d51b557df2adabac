"""CPU cost of transforms, masks and network per second of 44.1 kHz stereo audio.

    python benchmarks/transforms.py [--rounds 9]

One thread, CPU time of the process, best of some rounds that take turns, in milliseconds per second of audio.
Prints a Markdown table.
"""

import argparse
import ctypes
import platform
import time
from collections.abc import Callable

import torch
from torch import Tensor

from mss_models.catalog import build
from mss_models.networks.mask_separator import MaskSeparator
from mss_models.presets import shipped
from mss_models.stft import istft, stft


def keep_big_buffers() -> None:
    """Keep freed memory for the next segment instead of handing it back (Linux with glibc only)."""
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(-8, 1)  # M_ARENA_MAX
        libc.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
        libc.mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD
    except (OSError, AttributeError):
        pass


def best_times(cases: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Least CPU seconds of each case; the cases take turns, so that noise meets all alike."""
    least = dict.fromkeys(cases, float("inf"))
    for turn in range(rounds + 1):
        for name, run in cases.items():
            start = time.process_time()
            run()
            elapsed = time.process_time() - start
            if turn:  # the first turn warms up
                least[name] = min(least[name], elapsed)
    return least


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=9)
    rounds = arguments.parse_args().rounds
    keep_big_buffers()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    configuration = shipped("unet44")
    separator = build(configuration.architecture, configuration.settings)
    if not isinstance(separator, MaskSeparator):
        raise TypeError("unet44 is one joint network")
    samples, grid = separator.segment_samples, separator.settings.front_end.stft
    seconds = samples / separator.sample_rate
    mixture = torch.rand(1, 2, samples) * 2 - 1
    with torch.inference_mode():
        spectrum = stft(mixture, grid)
        stems = torch.randn(1, 4, 2, spectrum.shape[-1], grid.bins, dtype=torch.complex64).transpose(-1, -2)
        window = torch.hann_window(grid.n_fft)
        flat = stems.reshape(8, grid.bins, -1).contiguous()
        length = (flat.shape[-1] - 1) * grid.hop_length

        def torch_stft() -> Tensor:
            return torch.stft(mixture[0], grid.n_fft, grid.hop_length, window=window, return_complex=True)

        def torch_istft() -> Tensor:
            return torch.istft(flat, grid.n_fft, grid.hop_length, window=window, length=length)

        cases: dict[str, Callable[[], object]] = {
            "STFT, torch.stft": torch_stft,
            "STFT, ours": lambda: stft(mixture, grid),
            "iSTFT of 4 stems, torch.istft": torch_istft,
            "iSTFT of 4 stems, ours": lambda: istft(stems, grid, samples),
        }
        times = best_times(cases, rounds)
        for precision in ("fp32", "bf16"):
            separator.prepare(torch.device("cpu"), precision)
            features = separator.features(spectrum, separator.prepared_dtype)
            network = separator.prepared_network
            whole = {
                f"unet44 {precision}, network alone": lambda n=network, f=features: n(f),
                f"unet44 {precision}, separate()": lambda: separator.separate(mixture),
            }
            times |= best_times(whole, rounds)
            outside = times[f"unet44 {precision}, separate()"] - times[f"unet44 {precision}, network alone"]
            times[f"unet44 {precision}, transforms and masks"] = outside
    print(
        f"{platform.processor() or platform.machine()}, torch {torch.__version__}, 1 thread, {seconds:.2f} s segment\n"
    )
    print("| stage | CPU ms per s of audio | times real time |\n|---|---|---|")
    for name, elapsed in times.items():
        print(f"| {name} | {1000 * elapsed / seconds:.2f} | {seconds / elapsed:.0f} |")


if __name__ == "__main__":
    main()
