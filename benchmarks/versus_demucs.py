"""Our Hybrid Transformer Demucs against the packages `demucs` and `unblend`: CPU seconds and error on the same weights.

    uv pip install --no-deps --target peers demucs==4.1.0 julius einops unblend==1.0.0
    OMP_NUM_THREADS=1 PYTHONPATH=peers python benchmarks/versus_demucs.py [--model hdemucs] [--repeats 3]
    OMP_NUM_THREADS=1 PYTHONPATH=peers python benchmarks/versus_demucs.py --arms package unblend fp32 bf16

Each arm runs in a process of its own, one after the other, in turns: the package as it is, its rival's network, not
compiled, ours in fp32 and in bf16, both with the allocator as the command sets it. Weights are random and seeded, one
segment of the model's length; speed does not depend on them. The error is that of an arm against the package's output,
in decibels of its energy.
"""

import argparse
import importlib
import importlib.util
import resource
import subprocess
import sys
import tempfile
import time
import types
from fractions import Fraction
from pathlib import Path

import torch
from torch import Tensor, nn

from mss_cli.devices import prepare_process
from mss_models.catalog import build
from mss_models.networks.demucs.separator import HybridDemucsSeparator
from mss_models.presets import shipped

ARMS = ("package", "fp32", "bf16")
ALL_ARMS = (*ARMS, "unblend")
_HTDEMUCS = {"bottom_channels": 512, "dconv_mode": 3, "segment": Fraction(39, 5)}


def made(model: str) -> HybridDemucsSeparator:
    """Make the separator with seeded weights, residual branches as loud as after training."""
    torch.manual_seed(0)
    separator = build(shipped(model).architecture, shipped(model).settings)
    if not isinstance(separator, HybridDemucsSeparator):
        raise SystemExit(f"`{model}` is no hybrid Demucs")
    for name, parameter in separator.named_parameters():
        if name.endswith("scale"):
            parameter.data.fill_(0.1)
    return separator


def package(model: str, separator: HybridDemucsSeparator) -> nn.Module:
    """Give the package's network with the same weights."""
    if model == "hdemucs":
        from demucs.hdemucs import HDemucs

        theirs: nn.Module = HDemucs(list(separator.stems))
    else:
        from demucs.htdemucs import HTDemucs

        theirs = HTDemucs(list(separator.stems), **_HTDEMUCS)
    theirs.load_state_dict(separator.state_dict())
    return theirs.eval()


def rival(separator: HybridDemucsSeparator) -> nn.Module:
    """Give the network of the package unblend with the same weights, without its libraries for audio files."""
    found = importlib.util.find_spec("unblend")
    if found is None or found.submodule_search_locations is None:
        raise SystemExit("unblend is not on the path")
    stand_in = types.ModuleType("unblend")
    stand_in.__path__ = list(found.submodule_search_locations)
    sys.modules["unblend"] = stand_in
    module = importlib.import_module("unblend.htdemucs")
    theirs: nn.Module = module.HTDemucs(list(separator.stems), **_HTDEMUCS)
    theirs.load_state_dict(separator.state_dict())
    return theirs.eval()


def music(separator: HybridDemucsSeparator) -> Tensor:
    """Give a segment of coloured noise, (1, 2, sample)."""
    generator = torch.Generator().manual_seed(1)
    white = torch.randn(1, 2, separator.segment_samples, generator=generator)
    return 0.3 * white + 0.003 * white.cumsum(dim=-1)


def run_arm(model: str, arm: str, repeats: int, output: Path) -> None:
    """Time one arm and store what it estimates."""
    torch.set_num_threads(1)
    separator = made(model)
    mixture = music(separator)
    seconds = mixture.shape[-1] / separator.sample_rate
    network: nn.Module | None = None
    if arm in ("package", "unblend"):
        network = package(model, separator) if arm == "package" else rival(separator)
    else:
        prepare_process(1)
        separator.prepare(torch.device("cpu"), "bf16" if arm == "bf16" else "fp32")
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        with torch.inference_mode():
            estimates = separator.separate(mixture) if network is None else network(mixture)
        best = min(best, time.process_time() - start)
    torch.save(estimates.clone(), output / f"{arm}.pt")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(f"| {arm} | {best / seconds:.3f} | {peak:.2f} |", flush=True)


def main() -> None:
    """Run all arms and compare their outputs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="htdemucs", choices=["htdemucs", "hdemucs"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--arms", nargs="+", choices=ALL_ARMS, default=list(ARMS))
    parser.add_argument("--arm", choices=ALL_ARMS, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.arm:
        run_arm(chosen.model, chosen.arm, chosen.repeats, chosen.output)
        return
    print("| arm | CPU s per s, one pass | peak GB |\n| --- | --- | --- |", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for arm in chosen.arms:
            command = [sys.executable, __file__, "--model", chosen.model, "--repeats", str(chosen.repeats)]
            subprocess.run([*command, "--arm", arm, "--output", folder], check=True)
        answer = torch.load(Path(folder) / "package.pt").double()
        for arm in [arm for arm in chosen.arms if arm != "package"]:
            error = torch.load(Path(folder) / f"{arm}.pt").double() - answer
            print(f"{arm}: {10 * float((error.square().sum() / answer.square().sum()).log10()):.1f} dB")


if __name__ == "__main__":
    main()
