"""Demucs in the time domain: known answers of the package, a slow twin of version 2, laws, settings, stems left out."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional
from torch.testing import assert_close

from mss_models.catalog import build, configuration_of
from mss_models.configuration import ConfigurationError
from mss_models.networks.demucs.configurations import read_time, time_values
from mss_models.networks.demucs.doubling import double_rate, halve_rate
from mss_models.networks.demucs.published_time import is_second_version, published_time, second_version
from mss_models.networks.demucs.settings import ResidualSettings
from mss_models.networks.demucs.time import TimeDemucs
from mss_models.networks.demucs.time_separator import TimeDemucsSeparator
from mss_models.networks.demucs.time_settings import TimeSettings
from mss_models.presets import SHIPPED
from parity_rows import ParityRow
from separators import check_separator

STEMS = ("drums", "bass", "other", "vocals")
FORMULA = Path(__file__).parents[2].parent / "shared" / "checkpoints" / "formula-weights"
needs_formula = pytest.mark.skipif(not FORMULA.exists(), reason="no shared/checkpoints/formula-weights")

THIRD = TimeSettings(STEMS, width=8, depth=5, segment_samples=44_100)
SECOND = replace(
    read_time(SHIPPED["demucs-v2"].settings), width=4, depth=3, lstm_layers=1, norm_from=3, segment_samples=30_000
)
FOUR_DECODERS = replace(read_time(SHIPPED["demucs-four-decoders"].settings), width=4, segment_samples=30_000)
BRANCHES = replace(THIRD, depth=2, residual=ResidualSettings(in_decoder=True, lstm_from=1, attention_from=None))
ALL = {"third": THIRD, "second": SECOND, "four decoders": FOUR_DECODERS, "branches in decoders": BRANCHES}
every = pytest.mark.parametrize("configuration", ALL.values(), ids=ALL)


def formula():
    spec = importlib.util.spec_from_file_location("formula", FORMULA / "formula.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def seeded(configuration):
    """A network whose norms, scales and biases do something too."""
    torch.manual_seed(0)
    network = TimeDemucsSeparator(configuration)
    for name, parameter in network.named_parameters():
        if parameter.ndim == 1:
            noise = torch.rand(parameter.shape) - 0.5
            parameter.data = 1 + noise if name.endswith(("weight", "scale")) else 0.3 * noise
    return network.eval()


def noise(samples, *, batch=1, seed=1):
    return torch.randn(batch, 2, samples, generator=torch.Generator().manual_seed(seed))


def prepared(separator, precision="fp32"):
    separator.prepare(torch.device("cpu"), precision)
    return separator


@needs_formula
@pytest.mark.slow
def test_the_published_size_gives_the_package_s_output(record_property):
    network = TimeDemucs(read_time(SHIPPED["demucs-v3"].settings)).eval()
    keys = [line.split("\t")[0] for line in (FORMULA / "demucs_time.keys.txt").read_text().splitlines()]
    assert set(network.state_dict()) == set(keys)
    formula().fill(network)
    signal, _ = soundfile.read(FORMULA / "input_3s.flac", dtype="float32", frames=44_100)
    with torch.inference_mode():
        estimate = network(torch.from_numpy(signal.T.copy())[None])[0]
    with np.load(FORMULA / "demucs_time_forward_1s.npz") as answers:
        answer = torch.from_numpy(answers["out"])
    difference = float((estimate - answer).abs().max() / answer.abs().max())
    parameters = sum(one.numel() for one in network.parameters())
    ParityRow(
        *("Demucs in the time domain", "demucs-v3, published size", "demucs 4.1.0, known answer"),
        parameters,
        difference,
    ).record(record_property)
    assert difference < 1e-5


@pytest.mark.parametrize(("name", "parameters"), [("demucs-v3", 133_753_064), ("demucs-v2", 265_679_496)])
def test_the_published_sizes_have_the_published_numbers_of_parameters(name, parameters):
    with torch.device("meta"):
        network = TimeDemucs(read_time(SHIPPED[name].settings))
    assert sum(one.numel() for one in network.parameters()) == parameters


def old_names(state):
    """The names of version 2, whose sequences have no norms."""
    return {key.replace(".3.", ".2.") if not key.startswith("lstm") else key: value for key, value in state.items()}


def slow_twin(state, mixture, *, depth, context):
    """Version 2 as its paper and release say: one item, no padding inside, the middle of everything."""

    def cut(signal, steps):
        left = (signal.shape[-1] - steps) // 2
        return signal[..., left : left + steps]

    def gated(signal, name):
        wide = functional.conv1d(signal, state[f"{name}.weight"], state[f"{name}.bias"])
        half = wide.shape[1] // 2
        return wide[:, :half] * torch.sigmoid(wide[:, half:])

    steps = 2 * mixture.shape[-1]
    for _ in range(depth):
        steps = max(1, int(np.ceil((steps - 8) / 4)) + 1) + 2 * context
    for _ in range(depth):
        steps = 4 * (steps - 1) + 8
    missing = (steps + 1) // 2 - mixture.shape[-1]
    signal = double_rate(functional.pad(mixture, (missing // 2, missing - missing // 2)))
    skips = []
    for level in range(depth):
        down = functional.conv1d(signal, *(state[f"encoder.{level}.0.{one}"] for one in ("weight", "bias")), stride=4)
        signal = gated(down.clamp_min(0), f"encoder.{level}.2")
        skips.append(signal)
    width = signal.shape[1]
    lstm = torch.nn.LSTM(width, width, bidirectional=True)
    lstm.load_state_dict({key.removeprefix("lstm.lstm."): value for key, value in state.items() if "lstm.lstm" in key})
    found = lstm(signal.permute(2, 0, 1))[0] @ state["lstm.linear.weight"].t() + state["lstm.linear.bias"]
    signal = found.permute(1, 2, 0)
    for level in range(depth):
        inner = gated(signal + cut(skips.pop(), signal.shape[-1]), f"decoder.{level}.0")
        weight, bias = (state[f"decoder.{level}.2.{one}"] for one in ("weight", "bias"))
        signal = functional.conv_transpose1d(inner, weight, bias, stride=4)
        signal = signal.clamp_min(0) if level < depth - 1 else signal
    return cut(halve_rate(signal), mixture.shape[-1]).reshape(1, 4, 2, -1)


@pytest.mark.parametrize("samples", [3, 4000, 20_001])
def test_version_2_is_its_slow_twin(samples, record_property):
    state = old_names(seeded(SECOND).state_dict())
    made, renamed = second_version(state)
    assert replace(made, segment_samples=SECOND.segment_samples) == SECOND
    separator = TimeDemucsSeparator(made).eval()
    separator.load_state_dict(renamed)
    with torch.no_grad():
        answer = slow_twin(state, noise(samples), depth=3, context=1)
        estimate = separator(noise(samples))
    limit = 1e-5 * float(answer.abs().max())
    assert_close(estimate, answer, rtol=0, atol=limit)
    assert_close(prepared(separator).separate(noise(samples)), answer, rtol=0, atol=limit)
    ParityRow(
        "Demucs in the time domain",
        f"version 2, three levels, {samples} samples",
        "slow twin",
        sum(weight.numel() for weight in separator.parameters()),
        float((estimate - answer).abs().max() / answer.abs().max()),
    ).record(record_property)


@every
def test_the_laws_of_separators_hold(configuration):
    check_separator(seeded(configuration), samples=15_000)


@every
def test_what_is_prepared_estimates_as_what_is_trained(configuration):
    separator = prepared(seeded(configuration))
    with torch.no_grad():
        trained = separator(noise(20_000, batch=2))
    largest = float(trained.abs().max())
    assert_close(separator.separate(noise(20_000, batch=2)), trained, rtol=0, atol=1e-5 * largest)


@every
def test_leaving_out_stems_changes_nothing_else(configuration):
    separator = prepared(seeded(configuration))
    whole = separator.separate(noise(9_999))
    separator.restrict(("vocals", "bass"))
    prepared(separator)
    assert separator.stems == ("vocals", "bass")
    some = separator.separate(noise(9_999))
    assert_close(some, whole[:, [3, 1]], rtol=0, atol=1e-5 * float(whole.abs().max()))


@pytest.mark.parametrize("stems", [(), ("vocals", "vocals"), ("piano",)])
def test_stems_it_does_not_have_are_refused(stems):
    with pytest.raises(ValueError, match="expected some of drums, bass, other, vocals"):
        seeded(FOUR_DECODERS).restrict(stems)


@every
def test_every_weight_has_a_gradient(configuration):
    network = seeded(configuration).train()
    network(noise(5000, batch=2)).square().mean().backward()
    assert [name for name, one in network.named_parameters() if one.grad is None or not one.grad.isfinite().all()] == []


@every
def test_half_precision_is_near(configuration):
    separator = prepared(seeded(configuration))
    whole = separator.separate(noise(10_000))
    error = prepared(separator, "bf16").separate(noise(10_000)) - whole
    assert float(error.square().sum() / whole.square().sum()) < 10**-3  # -30 dB


def test_a_precision_it_does_not_have_is_refused():
    with pytest.raises(ValueError, match="must be one of fp32, bf16, got `fp16`"):
        prepared(seeded(THIRD), "fp16")


@pytest.mark.parametrize("both_ways", [False, True])
def test_one_direction_looks_no_farther_ahead_than_its_convolutions(both_ways):
    """A change reaches back over the kernels of three levels and their contexts, or over all."""
    separator = seeded(replace(FOUR_DECODERS, decoders="shared", lstm_bidirectional=both_ways))
    for name, parameter in separator.named_parameters():
        if name.startswith("lstm.lstm.bias"):
            parameter.data[16:32] = 4  # so that it forgets slowly: 16 wide, second of four gates
        if name == "lstm.linear.weight":
            parameter.data *= 200  # so that it is heard
    prepared(separator)
    mixture = noise(20_000)
    changed = mixture.clone()
    changed[..., 15_000:] *= -1
    reach = (8 + 3 * 4) * 4 ** (3 - 1) * 2
    apart = (separator.separate(mixture) - separator.separate(changed))[..., : 15_000 - reach]
    assert (float(apart.abs().max()) > 1e-5) == both_ways


def test_the_weights_of_convolutions_begin_nearer_to_a_tenth():
    """The square root of their deviation over 0.1 is what they are divided by: they go half the way in decibels."""
    torch.manual_seed(0)
    conv = TimeDemucs(SECOND).encoder[0][0]
    torch.manual_seed(0)
    plain = torch.nn.Conv1d(2, 4, 8, 4)
    assert_close(conv.weight, plain.weight / (plain.weight.std() / 0.1).sqrt())


@given(samples=st.integers(1, 30_000), name=st.sampled_from(["demucs-v1", "demucs-v2", "demucs-v3", "demucs-light"]))
@settings(max_examples=60, deadline=None)
def test_padded_mixtures_leave_no_step_over_and_come_back_no_shorter(samples, name):
    made = read_time(SHIPPED[name].settings)
    padded = made.padded_samples(samples)
    assert padded >= samples
    steps, lost = 2 * padded if made.resample else padded, 0 if made.context_padding else 2 * made.context
    outer = []
    for _ in range(made.depth):
        outer.append(steps)
        steps = (steps - 8) // 4 + 1
        assert steps >= 1
    if made.context_padding:
        assert all((one - 8) % 4 == 0 for one in outer)
    for _ in range(made.depth):
        steps -= lost
        assert steps >= 1
        steps = (steps - 1) * 4 + 8
    assert steps >= samples * (2 if made.resample else 1)


@given(samples=st.integers(200, 3000), pitch=st.floats(0.01, 0.4))
@settings(max_examples=20, deadline=None)
def test_twice_the_rate_and_back_gives_tones_back(samples, pitch):
    tone = torch.sin(2 * torch.pi * pitch * torch.arange(samples, dtype=torch.float64)).float()[None, None]
    doubled = double_rate(tone)
    assert doubled.shape[-1] == 2 * samples
    places = torch.arange(2 * samples, dtype=torch.float64)
    inner = slice(60, 2 * samples - 60)
    expected = torch.sin(torch.pi * pitch * places).float()
    assert_close(doubled[0, 0, inner], expected[inner], rtol=0, atol=5e-3)
    inner = slice(60, samples - 60)
    assert_close(halve_rate(doubled)[..., inner], tone[..., inner], rtol=0, atol=1e-2)


def test_a_steady_signal_stays_steady_at_any_rate():
    steady = torch.full((1, 1, 100), 0.7)
    assert_close(double_rate(steady), torch.full((1, 1, 200), 0.7))
    assert_close(halve_rate(steady), torch.full((1, 1, 50), 0.7))


@pytest.mark.parametrize("name", [name for name, one in SHIPPED.items() if one.architecture == "time-demucs"])
def test_settings_come_back_from_json(name):
    made = read_time(SHIPPED[name].settings)
    assert read_time(json.loads(json.dumps(time_values(made)))) == made


def test_the_configuration_of_a_network_builds_it_again():
    made = configuration_of(seeded(FOUR_DECODERS))
    again = build(made.architecture, made.settings)
    assert again.settings == FOUR_DECODERS


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"width": 0}, "width must be at least 1"),
        ({"channels": 3}, "channels must be 1 or 2"),
        ({"kernel_size": 3}, "kernel_size must be at least the stride 4"),
        ({"lstm_layers": -1}, "must not be negative"),
        ({"activation": "tanh"}, "activation: expected one of gelu, relu"),
        ({"decoders": "two"}, "decoders: expected one of shared, per-stem"),
        ({"resample": 1}, "resample: expected true or false"),
        ({"residual": {"lstm_form": 3}}, "unknown key `lstm_form`, did you mean `lstm_from`"),
        ({"stems": ["a", "a"]}, "stems must be different names"),
    ],
)
def test_settings_that_do_not_go_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        read_time({"stems": list(STEMS), **values})


def test_what_the_package_s_training_writes_is_understood():
    """All keys that its configuration file has for this network, with their values."""
    written = {
        "channels": 64, "growth": 2, "depth": 6, "rewrite": True, "lstm_layers": 0, "kernel_size": 8, "stride": 4,
        "context": 1, "gelu": True, "glu": True, "norm_groups": 4, "norm_starts": 4, "dconv_depth": 2, "dconv_mode": 1,
        "dconv_comp": 4, "dconv_attn": 4, "dconv_lstm": 4, "dconv_init": 1e-4, "resample": True, "normalize": True,
        "rescale": 0.1, "audio_channels": 2, "samplerate": 44_100, "segment": 44, "sources": list(STEMS),
    }  # fmt: skip
    assert published_time("demucs.demucs.Demucs", [], written) == TimeSettings(STEMS, segment_samples=44 * 44_100)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("demucs.hdemucs.HDemucs", {}, "unknown class"),
        ("os.system", {}, "unknown class"),
        ("Demucs", {"chanels": 48}, "unknown option `chanels`, did you mean `channels`"),
        ("Demucs", {"glu": False}, "glu: only True is supported, got False"),
        ("Demucs", {"depth": 2.5}, "depth: expected a whole number"),
        ("Demucs", {"gelu": 1}, "gelu: expected true or false"),
        ("Demucs", {"dconv_depth": -1}, "layers and compression of a residual branch must be at least 1"),
    ],
)
def test_options_that_are_not_known_are_refused(name, options, message):
    with pytest.raises(ConfigurationError, match=message):
        published_time(name, [list(STEMS)], options)


def test_bare_weights_that_are_none_of_version_2_are_refused():
    state = old_names(seeded(SECOND).state_dict())
    assert is_second_version(state)
    assert not is_second_version(seeded(THIRD).state_dict())
    with pytest.raises(ConfigurationError, match="6 outputs are not 4 stems of 2 channels"):
        second_version({**state, "decoder.2.2.weight": torch.zeros(4, 6, 8)})
    with pytest.raises(ConfigurationError, match="shapes of its convolutions"):
        second_version({**state, "decoder.0.0.weight": torch.zeros(32)})
