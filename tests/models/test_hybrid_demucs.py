"""Hybrid Demucs: known answers of the package, laws, settings, leaving out stems."""

import dataclasses
import importlib.util
import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from mss_models.configuration import ConfigurationError
from mss_models.networks.demucs.configurations import hybrid_values, read_hybrid
from mss_models.networks.demucs.hybrid import HybridDemucs
from mss_models.networks.demucs.lean_branch import LeanBranch
from mss_models.networks.demucs.published import published_hybrid
from mss_models.networks.demucs.residual_branch import ResidualBranch
from mss_models.networks.demucs.separator import HybridDemucsSeparator
from mss_models.networks.demucs.settings import HybridSettings, ResidualSettings, TransformerSettings
from mss_models.networks.demucs.spectrum import demucs_signal, demucs_spectrum
from mss_models.presets import SHIPPED
from mss_models.stft import StftSettings
from parity_rows import ParityRow
from separators import check_separator

STEMS = ("drums", "bass", "other", "vocals")
FORMULA = Path(__file__).parents[2].parent / "shared" / "checkpoints" / "formula-weights"
needs_formula = pytest.mark.skipif(not FORMULA.exists(), reason="no shared/checkpoints/formula-weights")

SMALL = HybridSettings(STEMS, width=8, depth=6, n_fft=4096, segment_samples=44_100)
PLAIN_BRANCHES = ResidualSettings(in_decoder=True, compression=2, lstm_from=None, attention_from=None)
SMALL_TRANSFORMER = HybridSettings(
    STEMS,
    width=4,
    depth=3,
    segment_samples=30_000,
    residual=PLAIN_BRANCHES,
    transformer=TransformerSettings(bottom_channels=8, layers=3, heads=2),
)


def formula():
    spec = importlib.util.spec_from_file_location("formula", FORMULA / "formula.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def excerpt(samples):
    signal, _ = soundfile.read(FORMULA / "input_3s.flac", dtype="float32", frames=samples)
    return torch.from_numpy(signal.T.copy())[None]


def largest_difference(estimate, answer):
    answer = torch.from_numpy(answer).float()
    return float((estimate - answer).abs().max() / answer.abs().max())


def seeded(configuration, *, spread=0.3):
    """A network whose norms, scales and biases do something too."""
    torch.manual_seed(0)
    network = HybridDemucsSeparator(configuration)
    for name, parameter in network.named_parameters():
        if parameter.ndim == 1:
            noise = torch.rand(parameter.shape) - 0.5
            parameter.data = (1 + noise if name.endswith(("weight", "scale")) else spread * noise).to(parameter.dtype)
    return network.eval()


@needs_formula
@pytest.mark.parametrize(("name", "parameters"), [("htdemucs", 41_984_456), ("hdemucs", 83_637_832)])
@pytest.mark.slow
def test_the_published_sizes_give_the_package_s_outputs(name, parameters, record_property):
    network = HybridDemucs(read_hybrid(SHIPPED[name].settings)).eval()
    keys = [line.split("\t")[0] for line in (FORMULA / f"{name}.keys.txt").read_text().splitlines()]
    assert list(network.state_dict()) == keys or set(network.state_dict()) == set(keys)
    assert sum(one.numel() for one in network.parameters()) == parameters
    formula().fill(network)
    with torch.inference_mode():
        estimate = network(excerpt(44_100))[0]
    with np.load(FORMULA / f"{name}_forward_1s.npz") as answers:
        difference = largest_difference(estimate, answers["out"])
    kind = "Hybrid Transformer Demucs" if name == "htdemucs" else "Hybrid Demucs"
    ParityRow(kind, f"{name}, published size", "demucs 4.1.0, known answer", parameters, difference).record(
        record_property
    )
    assert difference < 1e-5


def test_six_stems_have_the_published_number_of_parameters():
    with torch.device("meta"):
        network = HybridDemucs(read_hybrid(SHIPPED["htdemucs_6s"].settings))
    assert sum(one.numel() for one in network.parameters()) == 27_414_996
    assert len(network.state_dict()) == 525


@needs_formula
def test_a_published_file_in_safetensors_gives_the_package_s_outputs():
    from safetensors import safe_open

    with safe_open(FORMULA / "tiny_htdemucs.safetensors", framework="pt") as file:
        said, state = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    made = published_hybrid(said["klass"], json.loads(said["args"]), json.loads(said["kwargs"]))
    separator = HybridDemucsSeparator(made)
    separator.load_state_dict(state)
    separator.prepare(torch.device("cpu"), "fp32")
    estimate = separator.separate(excerpt(44_100))[0]
    with np.load(FORMULA / "tiny_htdemucs_known.npz") as answers:
        assert largest_difference(estimate[..., ::2], answers["forward_1s"]) < 1e-5


@pytest.mark.parametrize("configuration", [SMALL, SMALL_TRANSFORMER], ids=["hybrid", "transformer"])
def test_the_laws_of_separators_hold(configuration):
    check_separator(seeded(configuration), samples=20_000)


@pytest.mark.parametrize("configuration", [SMALL, SMALL_TRANSFORMER], ids=["hybrid", "transformer"])
def test_leaving_out_stems_changes_nothing_else(configuration):
    separator = seeded(configuration)
    mixture = torch.randn(2, 2, 12_345, generator=torch.Generator().manual_seed(1))
    separator.prepare(torch.device("cpu"), "fp32")
    whole = separator.separate(mixture)
    separator.restrict(("vocals", "bass"))
    separator.prepare(torch.device("cpu"), "fp32")
    assert separator.stems == ("vocals", "bass")
    assert_close(separator.separate(mixture), whole[:, [3, 1]], rtol=0, atol=1e-5 * float(whole.abs().max()))


@pytest.mark.parametrize("stems", [(), ("vocals", "vocals"), ("piano",)])
def test_stems_it_does_not_have_are_refused(stems):
    with pytest.raises(ValueError, match="expected some of drums, bass, other, vocals"):
        seeded(SMALL_TRANSFORMER).restrict(stems)


@pytest.mark.parametrize("configuration", [SMALL, SMALL_TRANSFORMER], ids=["hybrid", "transformer"])
def test_what_is_prepared_estimates_as_what_is_trained(configuration):
    separator = seeded(configuration)
    mixture = torch.randn(1, 2, 30_000, generator=torch.Generator().manual_seed(2))
    separator.prepare(torch.device("cpu"), "fp32")
    with torch.no_grad():
        trained = separator(mixture)
    assert_close(separator.separate(mixture), trained, rtol=0, atol=1e-5 * float(trained.abs().max()))


def test_every_weight_has_a_gradient():
    network = seeded(dataclasses.replace(SMALL, segment_samples=8192)).train()
    network(torch.randn(2, 2, 8192, generator=torch.Generator().manual_seed(3))).square().mean().backward()
    assert [name for name, one in network.named_parameters() if one.grad is None or not one.grad.isfinite().all()] == []


@given(samples=st.integers(1, 9000))
@settings(max_examples=20, deadline=None)
def test_the_spectrogram_s_inverse_gives_the_signal_back_but_for_the_highest_bin(samples):
    grid = StftSettings(n_fft=512, hop_length=128)
    place = torch.arange(samples)
    signal = torch.sin(0.31 * place)[None, None] + 0.3
    spectrum = demucs_spectrum(signal, grid)
    assert spectrum.shape == (1, 1, 256, -(-samples // 128))
    # A tone below it, away from the mirrored ends, where the mirror turns its phase.
    if samples > 3 * 512:
        inner = slice(512, samples - 512)
        assert_close(demucs_signal(spectrum, grid, samples)[..., inner], signal[..., inner], rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["htdemucs", "htdemucs_6s", "hdemucs"])
def test_settings_come_back_from_json(name):
    made = read_hybrid(SHIPPED[name].settings)
    assert read_hybrid(json.loads(json.dumps(hybrid_values(made)))) == made


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"width": 0}, "width must be at least 1"),
        ({"channels": 3}, "channels must be 1 or 2"),
        ({"n_fft": 1000}, "n_fft must be a multiple of 64"),
        ({"kernel_size": 7}, "kernel_size must be stride, or more by an even number"),
        ({"transformer": {}}, "a transformer needs two branches"),
        ({"depth": 4, "transformer": {"bottom_channels": 500}}, "must be a multiple of 4 and of the number of heads"),
        ({"transformer": 5}, "transformer: expected settings"),
        ({"residual": {"lstm_form": 3}}, "unknown key `lstm_form`, did you mean `lstm_from`"),
        ({"context": -1}, "must not be negative"),
    ],
)
def test_sizes_that_do_not_go_together_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        read_hybrid({"stems": list(STEMS), **values})


def test_options_of_a_published_file_have_the_package_s_defaults():
    made = published_hybrid("demucs.htdemucs.HTDemucs", [list(STEMS)], {"segment": Fraction(39, 5), "dconv_mode": 3})
    assert made.segment_samples == 343_980
    assert made.residual == ResidualSettings(
        in_decoder=True, compression=8, lstm_from=None, attention_from=None, scale=1e-3
    )
    assert made.transformer == TransformerSettings(bottom_channels=0)
    assert published_hybrid("HDemucs", [], {"sources": list(STEMS), "segment": 44}) == HybridSettings(STEMS)
    # The package's training writes an empty list for no bands of their own, and a segment as a number.
    written = {"multi_freqs": [], "multi_freqs_depth": 3, "channels_time": None, "segment": 7.8, "dconv_mode": 3}
    assert published_hybrid("HTDemucs", [list(STEMS)], written) == made


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("demucs.demucs.Demucs", {}, "unknown class"),
        ("os.system", {}, "unknown class"),
        ("HDemucs", {"chanels": 48}, "unknown option `chanels`, did you mean `channels`"),
        ("HDemucs", {"wiener_residual": True}, "wiener_residual: only False is supported, got True"),
        ("HDemucs", {"multi_freqs": "0.5"}, "multi_freqs: expected a list of numbers"),
        ("HTDemucs", {"cac": False}, "with a transformer: complex planes"),
        ("HDemucs", {"depth": 2.5}, "depth: expected a whole number"),
        ("HDemucs", {"segment": "long"}, "segment: expected a number or a fraction"),
        ("HTDemucs", {"t_sparse_self_attn": True}, "t_sparse_self_attn: only False is supported"),
        ("HTDemucs", {"depth": 6}, "HTDemucs: a transformer needs two branches"),
    ],
)
def test_options_that_are_not_known_are_refused(name, options, message):
    with pytest.raises(ConfigurationError, match=message):
        published_hybrid(name, [list(STEMS)], options)


@pytest.mark.parametrize("configuration", [SMALL, SMALL_TRANSFORMER], ids=["hybrid", "transformer"])
def test_half_precision_is_near_and_lawful(configuration):
    separator = seeded(configuration)
    mixture = torch.randn(1, 2, 20_000, generator=torch.Generator().manual_seed(7))
    separator.prepare(torch.device("cpu"), "fp32")
    whole = separator.separate(mixture)
    check_separator(separator, precision="bf16", samples=10_000)
    error = separator.separate(mixture) - whole
    assert float(error.square().sum() / whole.square().sum()) < 10**-3  # -30 dB, all branches as loud as the signal


@pytest.mark.parametrize("steps", [1, 3, 30_000])
def test_the_lean_branch_is_the_branch(steps):
    torch.manual_seed(0)
    branch = ResidualBranch(16, layers=3, compression=4, scale=0.7, lstm=False, attention=False).requires_grad_(False)
    signal = torch.randn(1, 2, steps, 16)
    signal[:, 1, steps // 8 :] = 0.3  # long sums of equal numbers
    expected = branch(signal[0].transpose(1, 2)).transpose(1, 2)
    assert_close(LeanBranch(branch, torch.float32).add_to(signal.clone())[0], expected, rtol=0, atol=5e-5)
