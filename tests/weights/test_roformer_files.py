"""Checkpoints of RoFormers with the YAML files they are published with."""

import re

import pytest
import torch
from safetensors.torch import save_file

from mss_cli.errors import WeightsError
from mss_cli.weights.cache import Cache
from mss_cli.weights.families.contents import Part
from mss_cli.weights.families.roformer import ROFORMER
from mss_cli.weights.families.training_yaml import read_training_yaml
from mss_cli.weights.foreign import convert_local
from mss_cli.weights.store import load
from mss_models.networks.roformer.network import Roformer
from mss_models.networks.roformer.settings import PUBLISHED_WIDTHS, RoformerSettings

SIZES = {"sample_rate": 8000, "n_fft": 64, "window_length": 64, "hop_length": 20, "segment_samples": 3000}
SMALL = {"width": 8, "depth": 2, "heads": 2, "head_width": 4}
SPLIT = RoformerSettings(("vocals",), **SIZES, **SMALL, band_widths=(3, 10, 20), mask_layers=1)
MEL = RoformerSettings(("vocals", "other"), "mel-band", **SIZES, **SMALL, mel_bands=5, mask_layers=1, mask_growth=2)
# As published files have it: a tag of Python, words of training, numbers that only other programs mind.
YAML = """
audio: {{chunk_size: 3000, dim_t: 801, hop_length: 441, num_channels: 2, sample_rate: 8000, min_mean_abs: 0.001}}
model:
  dim: 8
  depth: 2
  stereo: true
  num_stems: {stems}
  time_transformer_depth: 1
  freq_transformer_depth: 1
  linear_transformer_depth: 0
  {bands}
  dim_head: 4
  heads: 2
  attn_dropout: 0
  flash_attn: true
  dim_freqs_in: 33
  stft_n_fft: 64
  stft_hop_length: 20
  stft_win_length: 64
  stft_normalized: false
  multi_stft_resolutions_window_sizes: !!python/tuple
  - 4096
  - 512
{more}
training:
  instruments: [{instruments}]
  target_instrument: {target}
  lr: 5.0e-05
inference: {{batch_size: 4, dim_t: 801, num_overlap: 2}}
"""
SPLIT_BANDS = "freqs_per_bands: !!python/tuple [3, 10, 20]\n  mask_estimator_depth: 2"
MEL_BANDS = "num_bands: 5\n  sample_rate: 8000\n  mlp_expansion_factor: 2\n  mask_estimator_depth: 1"
SPLIT_WORDS = {"stems": 1, "bands": SPLIT_BANDS, "instruments": "vocals, other", "target": "vocals", "more": ""}
MEL_WORDS = {"stems": 2, "bands": MEL_BANDS, "instruments": "Vocals, Other", "target": "null", "more": ""}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MSS_CLI_WEIGHTS_DIR", str(tmp_path / "cache"))
    return Cache(tmp_path / "cache")


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "models"
    made.mkdir()
    return made


def network(sizes):
    torch.manual_seed(0)
    return Roformer(sizes).eval()


def shared_angles(state):
    """As upstream, where all layers have one and the same embedding."""
    angles = next(value for key, value in state.items() if key.endswith("rotary_embed.freqs"))
    return {key: angles if key.endswith("rotary_embed.freqs") else value for key, value in state.items()}


def files(folder, sizes=SPLIT, name="model_ep_1_sdr_9.6568", content=None, **words):
    """A checkpoint and its YAML file."""
    known = SPLIT_WORDS if sizes.kind == "band-split" else MEL_WORDS
    path = folder / f"{name}.ckpt"
    torch.save(shared_angles(network(sizes).state_dict()) if content is None else content, path)
    path.with_suffix(".yaml").write_text(YAML.format(**{**known, **words}))
    return path


@pytest.mark.parametrize("sizes", [SPLIT, MEL], ids=["bands side by side", "mel bands"])
def test_a_published_file_is_read_with_its_sizes_stems_and_segment(folder, sizes):
    separator, card = load(str(files(folder, sizes)))
    assert separator.settings == sizes
    assert (card.architecture, card.stems, card.sample_rate) == ("roformer", sizes.stems, 8000)
    assert [source.split(",")[0] for source in card.data] == [
        "model_ep_1_sdr_9.6568.ckpt",
        "model_ep_1_sdr_9.6568.yaml",
    ]
    spectrum = torch.randn(1, 6, 33, 2, dtype=torch.complex64)
    with torch.no_grad():
        assert torch.equal(separator.network.eval()(spectrum), network(sizes)(spectrum))


def wrapped(state):
    return {"state_dict": {f"module.{key}": value for key, value in state.items()}, "epoch": 3}


def counted_from_one(state):
    def one_more(found):
        return f"{found[1]}{int(found[2]) + 1}."

    return {re.sub(r"^(layers\.\d+\.)([01])\.", one_more, key): value for key, value in state.items()}


def with_more_of_rotary(state):
    return {**state, "layers.0.0.layers.0.0.rotary_embed.dummy": torch.tensor(0)}


@pytest.mark.parametrize("change", [wrapped, counted_from_one, with_more_of_rotary])
def test_layouts_that_others_save_are_read(folder, change):
    state = network(MEL).state_dict()
    contents = ROFORMER.read([Part(files(folder, MEL, content=change(state)))])
    assert contents.state.keys() == {f"network.{key}" for key in state}
    assert all(torch.equal(contents.state[f"network.{key}"], value) for key, value in state.items())


def test_safetensors_without_the_angles_are_read(folder):
    state = network(SPLIT).state_dict()
    path = files(folder).with_suffix(".safetensors")
    save_file({key: value for key, value in state.items() if "rotary" not in key}, path)
    separator, _ = load(str(path))
    assert all(torch.equal(separator.network.state_dict()[key], value) for key, value in state.items())


def test_parts_of_a_published_model_may_come_in_any_order(folder):
    path = files(folder, name="a")
    said = path.with_suffix(".yaml").rename(folder / "config_of_a.yaml")
    assert ROFORMER.read([Part(said), Part(path)], ("vocals",)).stems == ("vocals",)
    assert ROFORMER.read([Part(path)]).stems == ("vocals",)
    with pytest.raises(WeightsError, match="stems vocals instead of drums"):
        ROFORMER.read([Part(path), Part(said)], ("drums",))


def test_another_yaml_file_makes_another_checkpoint(folder, cache):
    path = files(folder)
    first = convert_local(path, cache, family=None, listener=lambda _: None)
    files(folder, target="drums")
    second = convert_local(path, cache, family=None, listener=lambda _: None)
    assert first != second
    assert load(str(second))[0].stems == ("drums",)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({"target": "Vocals"}, ("vocals",)),
        ({"target": "No Drum-Bass"}, ("no_drum-bass",)),
        ({"target": "other"}, ("target",)),
        ({"target": "null", "instruments": "karaoke"}, ("karaoke",)),
    ],
)
def test_the_target_instrument_names_the_stem(folder, words, expected):
    said = read_training_yaml(files(folder, **words).with_suffix(".yaml"))
    assert said.stems(1) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("audio: {chunk_size: 1000}\ninference: {chunk_size: 2000, dim_t: 11}", 2000),
        ("audio: {chunk_size: 1000}\ninference: {dim_t: 11}", 1000),
        ("inference: {dim_t: 11}", 4410),
        ("inference: {}", 99),
    ],
)
def test_a_segment_is_as_long_as_for_inference_or_else_as_in_training(tmp_path, text, expected):
    (tmp_path / "x.yaml").write_text(f"model: {{}}\n{text}\n")
    assert read_training_yaml(tmp_path / "x.yaml").segment_samples(441, default=99) == expected


def test_what_a_file_does_not_say_is_as_upstream(folder):
    path = files(folder)
    path.with_suffix(".yaml").write_text("model: {dim: 8}\ntraining: {target_instrument: vocals}\n")
    with pytest.raises(WeightsError, match=r"weights do not fit the network: .* \(sizes: model_ep_1_sdr_9.6568.yaml\)"):
        ROFORMER.read([Part(path)])
    assert sum(PUBLISHED_WIDTHS) == 1025
    assert len(PUBLISHED_WIDTHS) == 62


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ({"more": "  use_pope: true"}, "its `model.use_pope` is not known here"),
        ({"bands": MEL_BANDS}, "is of a Mel-Band RoFormer, the weights are of a BS-RoFormer"),
        ({"bands": SPLIT_BANDS.replace("20]", "21]")}, "add up to 34 instead of 33"),
        ({"bands": SPLIT_BANDS.replace("depth: 2", "depth: 3")}, "weights do not fit the network"),
        ({"stems": 2}, "weights do not fit the network"),
        ({"stems": 3}, "names vocals, other for 3 estimates"),
        ({"stems": "many"}, "its `model.num_stems` is no whole number"),
        ({"target": "null"}, "names vocals, other for 1 estimates"),
        ({"more": "  skip_connection: 3"}, "its `model.skip_connection` is neither true nor false"),
        ({"more": "  x: !!python/object/apply:os.system ['true']"}, "cannot be read as YAML"),
        ({"more": "  x: ["}, "cannot be read as YAML"),
    ],
)
def test_yaml_files_that_do_not_go_with_the_weights_are_refused(folder, words, match):
    with pytest.raises(WeightsError, match=match) as caught:
        ROFORMER.read([Part(files(folder, **words))])
    assert caught.value.code == 5


def test_a_tag_of_python_runs_nothing(folder, tmp_path):
    mark = tmp_path / "it ran"
    path = files(folder, more=f"  x: !!python/object/apply:os.system ['touch {mark}']")
    with pytest.raises(WeightsError, match="cannot be read as YAML"):
        load(str(path))
    assert not mark.exists()


def test_a_mel_network_of_two_rates_is_refused(folder):
    path = files(folder, MEL, bands=MEL_BANDS.replace("8000", "44100"))
    with pytest.raises(WeightsError, match="names two sample rates"):
        ROFORMER.read([Part(path)])


def test_without_its_yaml_file_a_checkpoint_is_refused_with_what_to_do(folder):
    path = files(folder)
    path.with_suffix(".yaml").unlink()
    with pytest.raises(WeightsError, match="no YAML file beside it.*put the YAML file it was published with beside it"):
        load(str(path))
    for name in ("one.yaml", "two.yml"):
        (folder / name).write_text("model: {}\n")
    with pytest.raises(WeightsError, match="several YAML files beside it"):
        load(str(path))


def test_later_networks_of_the_package_are_refused(folder):
    state = {**network(SPLIT).state_dict(), "layers.1.0.layers.0.0.to_value_residual_mix.weight": torch.zeros(2, 8)}
    with pytest.raises(WeightsError, match="1 unexpected: layers.1.0.layers.0.0.to_value_residual_mix.weight"):
        ROFORMER.read([Part(files(folder, content=state))])


def test_other_weights_are_refused(folder):
    with pytest.raises(WeightsError, match="no state dict of BS-RoFormer or Mel-Band RoFormer"):
        load(str(files(folder, content={"weight": torch.zeros(2)})), family="roformer")
