"""Checkpoints of MDX23C and SCNet with the YAML files they are published with."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from mss_cli.errors import WeightsError
from mss_cli.weights.cache import Cache
from mss_cli.weights.families.contents import Part
from mss_cli.weights.families.scnet import SCNET
from mss_cli.weights.families.tfc_tdf_v3 import TFC_TDF_V3
from mss_cli.weights.store import load
from mss_models.networks.scnet.network import Scnet
from mss_models.networks.scnet.settings import Bands, ScnetSettings
from mss_models.networks.tfc_tdf_v3 import TfcTdfV3, TfcTdfV3Shape
from mss_models.networks.tfc_tdf_v3_separator import TfcTdfV3Settings
from mss_models.stft import StftSettings

STEMS = ("vocals", "other")
SHAPE = TfcTdfV3Shape(planes=4, targets=2, bins=64, sub_bands=2, scales=2, blocks=1, channels=8, growth=4, bottleneck=2)
MDX = TfcTdfV3Settings(STEMS, 8000, 2, StftSettings(128, 32), 32 * 31, SHAPE)
SMALL = ScnetSettings(
    *(STEMS, 8000, 2, 4000), n_fft=128, hop_length=32, widths=(4, 8), dual_paths=2, normalization="deviation"
)
# As published files have them: a tag of Python, words of training, numbers that only other programs mind.
MDX_YAML = """
audio: {{chunk_size: 992, dim_f: 64, dim_t: 32, hop_length: 32, n_fft: 128, num_channels: 2, sample_rate: 8000,
         min_mean_abs: 0.001}}
model:
  act: {act}
  bottleneck_factor: 2
  growth: 4
  norm: {norm}
  num_blocks_per_scale: 1
  num_channels: 8
  num_scales: 2
  num_subbands: 2
  scale: [2, 2]
{more}
training:
  instruments: [Vocals, Other]
  target_instrument: {target}
  lr: 9.0e-05
augmentations: {{mixup_probs: !!python/tuple [0.2, 0.02]}}
inference: {{batch_size: 1, dim_t: 256, num_overlap: 4}}
"""
MDX_WORDS = {"act": "gelu", "norm": "InstanceNorm", "target": "null", "more": ""}
SCNET_YAML = """
audio: {{chunk_size: 4000, num_channels: 2, sample_rate: 8000, min_mean_abs: 0.0}}
model:
  sources: [vocals, other]
  audio_channels: 2
  dims: [4, 8]
  nfft: 128
  hop_size: 32
  win_size: {window}
  normalized: True
  band_SR: [0.175, 0.392, 0.433]
  band_stride: [1, 4, 16]
  band_kernel: [3, 4, 16]
  conv_depths: [3, 2, 1]
  compress: 4
  conv_kernel: 3
  num_dplayer: 2
  expand: 1
{more}
training: {{instruments: [Vocals, Other], target_instrument: null, optimizer: adam}}
augmentations: {{mixup_probs: !!python/tuple [0.2, 0.02]}}
inference: {{batch_size: 8, dim_t: 256, num_overlap: 4, normalize: {normalize}}}
"""
SCNET_WORDS = {"window": 128, "normalize": "true", "more": ""}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MSS_CLI_WEIGHTS_DIR", str(tmp_path / "cache"))
    return Cache(tmp_path / "cache")


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "models"
    made.mkdir()
    return made


def mdx_state(shape=SHAPE):
    torch.manual_seed(0)
    return TfcTdfV3(shape).state_dict()


def scnet_state(settings=SMALL):
    torch.manual_seed(0)
    return Scnet(settings).state_dict()


def mdx_files(folder, content=None, **words):
    path = folder / "model_mdx23c_ep_1_sdr_7.0207.ckpt"
    torch.save(mdx_state() if content is None else content, path)
    path.with_suffix(".yaml").write_text(MDX_YAML.format(**{**MDX_WORDS, **words}))
    return path


def scnet_files(folder, content=None, **words):
    path = folder / "scnet_checkpoint.ckpt"
    torch.save(scnet_state() if content is None else content, path)
    (folder / "config_scnet.yaml").write_text(SCNET_YAML.format(**{**SCNET_WORDS, **words}))
    return path


def test_a_published_mdx23c_is_read_with_its_sizes_stems_and_segment(folder):
    separator, card = load(str(mdx_files(folder)))
    assert separator.settings == MDX
    assert (card.architecture, card.stems, card.sample_rate) == ("tfc-tdf-v3", STEMS, 8000)
    assert [source.split(",")[0] for source in card.data] == [
        "model_mdx23c_ep_1_sdr_7.0207.ckpt",
        "model_mdx23c_ep_1_sdr_7.0207.yaml",
    ]
    expected = mdx_state()
    assert all(torch.equal(one, expected[key]) for key, one in separator.network.state_dict().items())


@pytest.mark.parametrize("masked", [False, True])
def test_a_published_scnet_is_read_with_its_sizes_stems_and_segment(folder, masked):
    settings = replace(SMALL, masked=masked)
    separator, card = load(str(scnet_files(folder, scnet_state(settings))))
    assert separator.settings == settings
    assert (card.architecture, card.stems, card.sample_rate) == ("scnet", STEMS, 8000)
    assert separator.normalization == "deviation"
    expected = scnet_state(settings)
    assert all(torch.equal(one, expected[key]) for key, one in separator.network.state_dict().items())


def test_a_network_for_one_stem_is_read_by_its_target(folder):
    state = mdx_state(replace(SHAPE, targets=1))
    separator, card = load(str(mdx_files(folder, state, target="Vocals")))
    assert card.stems == ("vocals",)
    assert separator.settings.shape.targets == 1


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        ({"norm": "BatchNorm", "act": "relu"}, {"norm": "batch", "activation": "relu"}),
        ({"norm": "GroupNorm4"}, {"norm": "group", "norm_groups": 4}),
        ({"act": "elu0.5"}, {"activation": "elu", "elu_alpha": 0.5}),
        ({"norm": "null"}, {"norm": "none"}),
    ],
)
def test_norms_and_activations_go_by_their_published_names(folder, words, changes):
    shape = replace(SHAPE, **changes)
    contents = TFC_TDF_V3.read([Part(mdx_files(folder, mdx_state(shape), **words))])
    assert {key: contents.configuration[key] for key in ("norm", "activation", "elu_alpha")} == {
        "norm": shape.norm,
        "activation": shape.activation,
        "elu_alpha": shape.elu_alpha,
    }


@pytest.mark.parametrize("name", ["best_state", "state_dict", "state"])
def test_weights_inside_something_else_and_of_several_gpus_are_found(folder, name):
    wrapped = {name: {f"module.{key}": value for key, value in scnet_state().items()}, "epoch": 3}
    assert load(str(scnet_files(folder, wrapped)))[0].settings == SMALL


@pytest.mark.parametrize(
    ("write", "state", "kind"), [(mdx_files, mdx_state, "tfc-tdf-v3"), (scnet_files, scnet_state, "scnet")]
)
def test_safetensors_are_read_too(folder, write, state, kind):
    path = write(folder)
    path.unlink()
    save_file(state(), path.with_suffix(".safetensors"))
    assert load(str(path.with_suffix(".safetensors")))[1].architecture == kind


def test_mean_and_deviation_are_left_in_where_the_file_says_so(folder):
    assert load(str(scnet_files(folder, normalize="false")))[0].normalization == "none"


def test_stems_of_another_name_are_refused(folder):
    with pytest.raises(WeightsError, match="stems vocals, other instead of drums, bass"):
        TFC_TDF_V3.read([Part(mdx_files(folder))], ("drums", "bass"))


def test_stems_of_the_names_expected_are_taken(folder):
    assert SCNET.read([Part(scnet_files(folder))], STEMS).stems == STEMS


@pytest.mark.parametrize(
    ("write", "words", "match"),
    [
        (mdx_files, {"norm": "LayerNorm"}, "model.norm` is not known here: `LayerNorm`"),
        (mdx_files, {"act": "elu"}, "model.act` is not known here: `elu`"),
        (mdx_files, {"more": "  use_stht: true"}, "model.use_stht` is not known here"),
        (scnet_files, {"window": 64}, "its window is shorter than its transform"),
        (scnet_files, {"more": "  rnn_hidden_dim: 128"}, "model.rnn_hidden_dim` is not known here"),
    ],
)
def test_what_may_mean_another_network_is_refused(folder, write, words, match):
    with pytest.raises(WeightsError, match=match):
        load(str(write(folder, **words)))


def test_weights_of_other_sizes_are_refused_and_both_files_named(folder):
    path = mdx_files(folder, mdx_state(replace(SHAPE, growth=8)))
    with pytest.raises(WeightsError, match=r"do not fit the network.*\(sizes: model_mdx23c_ep_1_sdr_7.0207.yaml\)"):
        load(str(path))


def test_without_its_yaml_file_it_is_refused_with_a_way_out(folder):
    path = mdx_files(folder)
    path.with_suffix(".yaml").unlink()
    with pytest.raises(WeightsError, match="no YAML file beside it") as caught:
        load(str(path))
    assert "put the YAML file it was published with beside it" in caught.value.hint


def test_the_bands_of_the_file_are_those_of_the_network(folder):
    contents = SCNET.read([Part(scnet_files(folder))])
    assert contents.configuration["band_shares"] == list(Bands().shares)
    assert contents.configuration["band_depths"] == list(Bands().depths)
