"""Files of strangers that are damaged, absurd or meant to stall: refused in one line that names them, nothing kept."""

import io
import json
import shutil

import pytest
import torch
from safetensors.torch import save_file

from mss_cli.errors import WeightsError
from mss_cli.main import main
from mss_cli.weights.cache import Cache
from mss_cli.weights.foreign import convert_local
from mss_cli.weights.store import Card, load, save_checkpoint
from signals import write_music
from weights_server import speech_files


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MSS_CLI_WEIGHTS_DIR", str(tmp_path / "cache"))
    return Cache(tmp_path / "cache")


def speech_state():
    return torch.load(io.BytesIO(speech_files()["speech.pth"]), weights_only=True)


def assert_refused(path, cache):
    with pytest.raises(WeightsError) as caught:
        convert_local(path, cache, family=None, listener=lambda event: None)
    assert str(path.parent) in caught.value.path
    assert not list(cache.root.rglob("*.safetensors"))


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("output_scale", lambda weight: torch.tensor(1.0)),
        ("output_scale", lambda weight: weight[:0]),
        ("fc1.weight", lambda weight: weight[0]),
        ("fc2.weight", lambda weight: weight.to_sparse()),
        ("fc2.weight", lambda weight: weight.to("meta")),
        ("fc2.weight", lambda weight: torch.full_like(weight, 1e300, dtype=torch.float64)),
    ],
    ids=["no-axis", "empty", "one-axis", "sparse", "meta", "too-large"],
)
def test_weights_of_another_kind_are_refused(tmp_path, cache, key, change):
    state, path = speech_state(), tmp_path / "vocals.pth"
    torch.save({**state, key: change(state[key])}, path)
    assert_refused(path, cache)


@pytest.mark.parametrize("text", ['{"sample_rate": Infinity}', "[" * 100_000, '{"sample_rate": 0}', '{"nhop": 1e999}'])
def test_absurd_settings_beside_open_unmix_are_refused(tmp_path, cache, text):
    folder = tmp_path / "umx"
    folder.mkdir()
    for name, data in speech_files().items():
        (folder / name).write_bytes(data)
    (folder / "separator.json").write_text(text)
    with pytest.raises(WeightsError):
        convert_local(folder, cache, family=None, listener=lambda event: None)
    assert not list(cache.root.rglob("*.safetensors"))


def test_a_folder_named_like_a_file_is_refused(tmp_path, cache):
    (tmp_path / "models" / "vocals.pth").mkdir(parents=True)
    with pytest.raises(WeightsError, match="is no file"):
        convert_local(tmp_path / "models", cache, family=None, listener=lambda event: None)


def test_what_a_folder_says_of_its_transform_is_heard_each_time(tmp_path):
    folder = tmp_path / "umx"
    folder.mkdir()
    for name, data in speech_files().items():
        (folder / name).write_bytes(data)
    before, card = load(str(folder))
    assert card.name == "umx"
    (folder / "separator.json").write_text(json.dumps({"nfft": 1024, "nhop": 256, "sample_rate": 22050}))
    after, _ = load(str(folder))
    assert (before.sample_rate, after.sample_rate) == (16000, 22050)
    shutil.copytree(folder, tmp_path / "another")
    assert load(str(tmp_path / "another"))[1].name == "another"


@pytest.mark.parametrize(
    "section",
    [
        "model: {depth: 1000000}",
        "model: {dim: 1000000000000000000000000}",
        "model: {dim_head: 1000000000}",
        "model: {dim: .inf}",
        "audio: {sample_rate: 99999999999999999999}\nmodel: {dim: 8}",
        "audio: {chunk_size: 1000000000000}\nmodel: {dim: 8}",
        "model:\n  a: &a [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(
            f"  {name}: &{name} [*{before}, *{before}, *{before}, *{before}, *{before}, *{before}]\n"
            for before, name in zip("abcdefgh", "bcdefghi", strict=True)
        ),
    ],
    ids=["layers", "width", "heads", "infinite", "rate", "segment", "aliases"],
)
@pytest.mark.timeout(60)
def test_absurd_sizes_in_a_yaml_file_are_refused(tmp_path, cache, section):
    save_file({"layers.0.0.layers.0.0.norm.gamma": torch.zeros(8), "band_split.to_features.0.0.gamma": torch.zeros(8)},
              tmp_path / "model.safetensors")  # fmt: skip
    path = tmp_path / "model.safetensors"
    path.with_suffix(".yaml").write_text(section)
    with pytest.raises(WeightsError):
        convert_local(path, cache, family="roformer", listener=lambda event: None)
    assert not list((cache.root / "converted").glob("*"))


@pytest.mark.parametrize(
    ("key", "tensor", "match"),
    [
        ("fc2.weight", torch.zeros(1, dtype=torch.complex64), "complex64"),
        ("fc2.weight", torch.zeros(1, dtype=torch.bool), "bool"),
        ("fc2.weight", torch.full((1,), 1e300, dtype=torch.float64), "infinite"),
    ],
)
def test_weights_that_the_network_cannot_hold_are_refused(tmp_path, key, tensor, match):
    folder = tmp_path / "umx"
    folder.mkdir()
    for name, data in speech_files().items():
        (folder / name).write_bytes(data)
    separator, card = load(str(folder))
    state = separator.state_dict()
    whole = f"networks.speech.{key}"
    state[whole] = tensor.expand(state[whole].shape).contiguous()
    save_checkpoint(tmp_path / "bad.safetensors", state, card)
    with pytest.raises(WeightsError, match=match):
        load(str(tmp_path / "bad.safetensors"))


def test_a_stem_with_an_endless_name_is_refused(tmp_path):
    card = Card("x", "classical", {}, ("s" * 300,), 44100, "none", "CC0-1.0")
    save_checkpoint(tmp_path / "bad.safetensors", {}, card)
    with pytest.raises(WeightsError, match="100 letters"):
        load(str(tmp_path / "bad.safetensors"))


@pytest.mark.parametrize("name", ["x" * 300, "x" * 300 + "+classical"])
def test_a_model_with_an_endless_name_is_no_model(tmp_path, capsys, name):
    write_music(tmp_path / "song.wav")
    assert main(["separate", str(tmp_path / "song.wav"), "-o", str(tmp_path / "out"), "--model", name]) == 2
    assert "no model is called" in capsys.readouterr().err
