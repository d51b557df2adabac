"""What candidates for the small four-stem network cost: size, multiplications, CPU time to separate and to train.

    python benchmarks/candidate_networks.py [--rounds 5] [--only trial thin] [--stages]

One thread, random weights. Separation is the whole chain, `separate` on one segment: transforms, network, estimates.
A step of training is forward and backward of a batch of 4 x 3 s under bf16 autocast with the loss "log-energy". CPU
time of the process, best of some rounds, so that other work on the machine counts little. Prints a Markdown table;
``--stages`` adds where the time of the first candidate goes.
"""

import argparse
import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mss_cli.devices import prepare_process
from mss_models.catalog import build
from mss_models.losses import Term, evaluate_terms, total
from mss_models.networks.front_end import FrontEnd
from mss_models.networks.subband_separator import SubbandSeparator, SubbandSettings, multiply_accumulates
from mss_models.presets import shipped
from mss_models.separator import Precision
from mss_models.stft import StftSettings, istft, stft

CPU = torch.device("cpu")
TRAINED_ITEMS, TRAINED_SECONDS = 4, 3
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")
LOSS = (Term("log-energy"),)


def candidates() -> Mapping[str, SubbandSettings]:
    """The shipped shape and its neighbours, by name."""
    configuration = shipped("subband44")
    made = build(configuration.architecture, configuration.settings)
    if not isinstance(made, SubbandSeparator):
        raise TypeError("subband44 is a sub-band network")
    trial = made.settings
    front_end = trial.front_end

    def seen_by(n_fft: int, hop_length: int, bins: int) -> FrontEnd:
        return dataclasses.replace(front_end, stft=StftSettings(n_fft, hop_length), bins=bins)

    change = dataclasses.replace
    return {
        "trial": trial,
        "thin": change(trial, channels=(32, 64, 96)),
        "wide": change(trial, channels=(56, 120, 184)),
        "deep": change(trial, convolutions=3, channels=(40, 80, 120)),
        "no context": change(trial, context="none"),
        "dilated": change(trial, context="dilated"),
        "concatenated skips": change(trial, skips="concatenate"),
        "no linear layers": change(trial, bottleneck=0),
        "complex masks": change(trial, head="mask"),
        "mapping": change(trial, head="mapping"),
        "4 scales": change(trial, channels=(48, 80, 112, 144)),
        "4 sub-bands": change(trial, sub_bands=4, channels=(32, 64, 96)),
        "16 sub-bands": change(trial, sub_bands=16, channels=(72, 128, 184)),
        "hop 2048": change(trial, front_end=seen_by(4096, 2048, 1536), segment_frames=128, channels=(72, 128, 184)),
        "n_fft 6144": change(trial, front_end=seen_by(6144, 1536, 2304), segment_frames=172),
        "n_fft 2048, hop 512": change(trial, front_end=seen_by(2048, 512, 768), segment_frames=512, sub_bands=4),
        "consistent": change(trial, consistency="energy"),
    }


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one candidate; CPU seconds are per second of audio."""

    parameters: int
    fp16_bytes: int
    multiplications: float
    separate: Mapping[Precision, float]
    train: float


def best_time(run: Callable[[], object], rounds: int) -> float:
    """Least CPU seconds of some rounds, after one that warms up."""
    run()
    least = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        run()
        least = min(least, time.process_time() - start)
    return least


def measure(settings: SubbandSettings, rounds: int) -> Cost:
    """Build a candidate and take its costs."""
    torch.manual_seed(0)
    separator = SubbandSeparator(settings)
    mixture = torch.rand(1, separator.channels, separator.segment_samples) * 2 - 1
    seconds = separator.segment_samples / separator.sample_rate
    separate: dict[Precision, float] = {}
    for precision in PRECISIONS:
        separator.eval().prepare(CPU, precision)
        separate[precision] = best_time(lambda: separator.separate(mixture), rounds) / seconds
    samples = TRAINED_SECONDS * separator.sample_rate
    targets = torch.rand(TRAINED_ITEMS, len(separator.stems), separator.channels, samples) - 0.5
    trained = best_time(lambda: update(separator.train(), targets), max(1, rounds // 2))
    return Cost(
        parameters=sum(weight.numel() for weight in separator.parameters()),
        fp16_bytes=2 * sum(value.numel() for value in separator.state_dict().values()),
        multiplications=multiply_accumulates(settings),
        separate=separate,
        train=trained / (TRAINED_ITEMS * TRAINED_SECONDS),
    )


def update(separator: SubbandSeparator, targets: Tensor) -> None:
    """Forward and backward of one batch, without the optimiser."""
    separator.zero_grad()
    mixture = targets.sum(dim=1)  # (batch, channel, sample)
    with torch.autocast("cpu", torch.bfloat16):
        estimates = separator(mixture).float()
    transform = separator.settings.front_end.stft
    terms = evaluate_terms(LOSS, estimates=estimates, targets=targets, mixture=mixture, transform=transform)
    total(LOSS, terms).backward()


def stages(settings: SubbandSettings, precision: Precision, rounds: int) -> Mapping[str, float]:
    """CPU seconds per second of audio of the parts of `separate`."""
    separator = SubbandSeparator(settings).eval()
    separator.prepare(CPU, precision)
    front_end, stems = settings.front_end, len(settings.stems)
    samples = separator.segment_samples
    mixture = torch.rand(1, separator.channels, samples) * 2 - 1
    with torch.inference_mode():
        spectrum = stft(mixture, front_end.stft)
        network = separator.prepared_network
        planes = torch.randn(1, spectrum.shape[-1], settings.network.in_planes, front_end.bins)
        planes = planes.to(separator.prepared_dtype)
        parts = {
            "transform": best_time(lambda: stft(mixture, front_end.stft), rounds),
            "network": best_time(lambda: network(planes), rounds),
            "inverse transforms": stems * best_time(lambda: istft(spectrum, front_end.stft, samples), rounds),
        }
    whole = best_time(lambda: separator.separate(mixture), rounds)
    parts["planes in, spectra out"] = whole - sum(parts.values())
    seconds = samples / separator.sample_rate
    return {name: spent / seconds for name, spent in parts.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--stages", action="store_true")
    arguments = parser.parse_args()
    prepare_process(1)
    chosen = {name: made for name, made in candidates().items() if not arguments.only or name in arguments.only}
    print(f"torch {torch.__version__}, 1 thread; CPU s per s of audio\n")
    print("| candidate | million weights | MB in fp16 | GMAC per s | separate fp32 | bf16 | train bf16 |")
    print("|---|---|---|---|---|---|---|")
    for name, settings in chosen.items():
        cost = measure(settings, arguments.rounds)
        print(
            f"| {name} | {cost.parameters / 1e6:.2f} | {cost.fp16_bytes / 1e6:.2f} | {cost.multiplications / 1e9:.2f} "
            f"| {cost.separate['fp32']:.3f} | {cost.separate['bf16']:.3f} | {cost.train:.3f} |",
            flush=True,
        )
    if arguments.stages and chosen:
        name, settings = next(iter(chosen.items()))
        print(f"\n| stage of `{name}`, CPU ms per s of audio | fp32 | bf16 |\n|---|---|---|")
        found = [stages(settings, precision, arguments.rounds) for precision in PRECISIONS]
        for stage in found[0]:
            print(f"| {stage} | {1000 * found[0][stage]:.1f} | {1000 * found[1][stage]:.1f} |")


if __name__ == "__main__":
    main()
