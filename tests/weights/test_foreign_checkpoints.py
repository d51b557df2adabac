"""Checkpoints of others: read without running anything in them, and turned into ours."""

import dataclasses
import io
import json
import os
import pickle
import shutil
import sys
import types
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file

from mss_cli.errors import UsageError, WeightsError
from mss_cli.main import main
from mss_cli.weights.cache import Cache
from mss_cli.weights.families import deep_salience, demucs, open_unmix, tdc_unet
from mss_cli.weights.families.contents import Part
from mss_cli.weights.foreign import convert_local
from mss_cli.weights.installing import checkpoint_of
from mss_cli.weights.safe_loading import StandIn, load_safely, plain
from mss_cli.weights.store import load, read_card
from mss_models.catalog import build
from mss_models.networks.demucs.configurations import hybrid_values
from mss_models.networks.demucs.published import published_hybrid
from mss_models.networks.demucs.published_time import published_time
from mss_models.networks.demucs.separator import HybridDemucsSeparator
from mss_models.networks.demucs.time_separator import TimeDemucsSeparator
from mss_models.presets import SHIPPED
from signals import write_music
from weights_server import speech_files

CHECKPOINTS = Path(__file__).parents[2].parent / "shared" / "checkpoints"
TINY = {
    "channels": 4, "depth": 4, "bottom_channels": 16, "dconv_mode": 3, "dconv_comp": 4, "t_layers": 1, "t_heads": 2,
    "segment": Fraction(3, 2), "samplerate": 8000,
}  # fmt: skip
STEMS = ["drums", "vocals"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MSS_CLI_WEIGHTS_DIR", str(tmp_path / "cache"))
    return Cache(tmp_path / "cache")


@pytest.fixture
def shared():
    if not CHECKPOINTS.is_dir():
        pytest.skip("the published checkpoints are not here")
    return CHECKPOINTS


@pytest.fixture
def published_class(monkeypatch):
    """The class whose name stands in published checkpoints, only while they are written."""
    module = types.ModuleType("demucs.htdemucs")
    module.HTDemucs = type("HTDemucs", (), {"__module__": "demucs.htdemucs"})
    monkeypatch.setitem(sys.modules, "demucs", types.ModuleType("demucs"))
    monkeypatch.setitem(sys.modules, "demucs.htdemucs", module)
    return module.HTDemucs


def network(**changes):
    torch.manual_seed(0)
    settings = {**TINY, **changes}
    return HybridDemucsSeparator(published_hybrid("demucs.htdemucs.HTDemucs", [STEMS], settings))


def package(klass, **changes):
    state = {key: value.half() for key, value in network().state_dict().items()}
    return {"klass": klass, "args": (STEMS,), "kwargs": TINY, "state": state, "training_args": {}, **changes}


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


class Sly:
    """Makes a file through a class that checkpoints may name."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return eval, (f"open({str(self.path)!r}, 'w')",)


def written(content, path, **settings):
    torch.save(content, path, **settings)
    return path


@pytest.mark.parametrize("new_format", [True, False])
@pytest.mark.parametrize("bad", [Evil, Sly])
def test_a_checkpoint_that_carries_code_does_not_run_it(tmp_path, capsys, published_class, bad, new_format):
    mark = tmp_path / "it ran"
    content = package(published_class, training_args=bad(mark))
    path = written(content, tmp_path / "model.th", _use_new_zipfile_serialization=new_format)
    song = write_music(tmp_path / "song.wav", seconds=0.2)
    assert main(["separate", str(song), "-m", str(path), "-o", str(tmp_path / "out")]) == 5
    line = capsys.readouterr().err
    assert "model.th: refused: it names `" in line
    assert "which is code and could do anything" in line
    assert not mark.exists()
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "cache" / "converted").exists()


def test_a_bare_pickle_with_code_does_not_run_it(tmp_path):
    mark = tmp_path / "it ran"
    (tmp_path / "model.th").write_bytes(pickle.dumps(Evil(mark)))
    with pytest.raises(WeightsError, match="refused") as caught:
        checkpoint_of(str(tmp_path / "model.th"))
    assert caught.value.code == 5
    assert not mark.exists()


def test_objects_of_known_classes_are_made_of_nothing(tmp_path):
    content = load_safely(written({"a": Fraction(39, 5)}, tmp_path / "x.th"))
    assert isinstance(content["a"], StandIn)
    assert not isinstance(content["a"], Fraction)
    assert plain(content) == {"a": {"_type": "fraction", "numerator": 39, "denominator": 5}}


@pytest.mark.parametrize("text", ["1e999999999", "1/0", "-1/2", "x"])
def test_fractions_that_are_none_are_refused(text):
    stand_in = type("StandIn", (StandIn,), {"name": "fractions.Fraction"})(text)
    with pytest.raises(ValueError, match="fraction"):
        plain(stand_in)


def test_a_pickled_network_of_the_real_world_is_refused_by_the_name_of_its_class(shared, capsys, tmp_path):
    path = shared / "dae-skip-mir1k-vocals" / "original_baseline_vocal.pt"
    song = write_music(tmp_path / "song.wav", seconds=0.2)
    assert main(["separate", str(song), "-m", str(path), "-o", str(tmp_path / "out")]) == 5
    assert "names `models.DAESkipConnections`" in capsys.readouterr().err


@pytest.mark.parametrize("end", [0, 1, 2, 10, 3000, -1])
def test_files_that_end_too_early_are_refused(tmp_path, end):
    data = speech_files()["speech.pth"]
    (tmp_path / "cut.pth").write_bytes(data[:end])
    with pytest.raises(WeightsError):
        load(str(tmp_path / "cut.pth"))


def test_what_is_no_checkpoint_at_all_is_refused(tmp_path):
    (tmp_path / "page.pth").write_text("<html>not found</html>")
    with pytest.raises(WeightsError, match="cannot load weights"):
        load(str(tmp_path / "page.pth"))


def test_a_tuple_as_demucs_v1_has_it_is_refused_with_a_way_out(tmp_path):
    path = written((1, (), {}, {}), tmp_path / "light.th")
    with pytest.raises(WeightsError, match="a pickle of Demucs v1.*take `htdemucs` instead"):
        load(str(path))


def test_a_packed_demucs_is_refused_with_a_way_out(tmp_path, published_class):
    path = written(package(published_class, state={"__quantized": True}), tmp_path / "x-00000000.th")
    with pytest.raises(WeightsError, match="packed by DiffQ.*without `_q`"):
        load(str(path))


def test_a_compressed_demucs_v1_is_refused(tmp_path):
    (tmp_path / "light.th.gz").write_bytes(b"\x1f\x8b\x08\x00 anything")
    with pytest.raises(WeightsError, match="a pickle of Demucs v1"):
        load(str(tmp_path / "light.th.gz"))


def test_demucs_becomes_the_network_of_its_settings_with_its_weights(tmp_path, published_class):
    path = written(package(published_class), tmp_path / "model.th")
    separator, card = load(str(path))
    expected = network()
    assert card.architecture == "hybrid-demucs"
    assert card.configuration == json.loads(json.dumps(hybrid_values(expected.settings)))
    assert card.stems == tuple(STEMS)
    assert card.sample_rate == 8000
    state = separator.state_dict()
    assert all(torch.equal(state[key], value.half().float()) for key, value in expected.state_dict().items())


@pytest.fixture
def time_class(monkeypatch):
    """The class of the time domain whose name stands in published checkpoints, only while they are written."""
    module = types.ModuleType("demucs.demucs")
    module.Demucs = type("Demucs", (), {"__module__": "demucs.demucs"})
    monkeypatch.setitem(sys.modules, "demucs", types.ModuleType("demucs"))
    monkeypatch.setitem(sys.modules, "demucs.demucs", module)
    return module.Demucs


def test_demucs_3_of_the_time_domain_becomes_its_network_alone_and_in_a_bag(tmp_path, time_class):
    settings = {"channels": 4, "depth": 2, "segment": 40, "samplerate": 8000}
    torch.manual_seed(0)
    expected = TimeDemucsSeparator(published_time("Demucs", [STEMS], settings))
    state = {key: value.half() for key, value in expected.state_dict().items()}
    path = written(package(time_class, kwargs=settings, state=state), tmp_path / "9a6b4851.th")
    separator, card = load(str(path))
    assert card.architecture == "time-demucs"
    assert separator.settings == expected.settings
    assert all(torch.equal(one, state[key].float()) for key, one in separator.state_dict().items())
    contents = demucs.read([Part(path), Part(path)], tuple(STEMS), segment_seconds=44)
    assert contents.architecture == "bag"
    assert [one["architecture"] for one in contents.configuration["members"]] == ["time-demucs"] * 2
    assert [one["configuration"]["segment_samples"] for one in contents.configuration["members"]] == [352_000] * 2


def second_version(width=4):
    """Weights as the second version has them: bare, and without numbers for norms."""
    torch.manual_seed(0)
    made = build("time-demucs", {**SHIPPED["demucs-v2"].settings, "width": width, "depth": 2, "norm_from": 2})
    state = made.state_dict()
    return made, {key if key.startswith("lstm") else key.replace(".3.", ".2."): state[key] for key in state}


def test_bare_weights_of_demucs_2_become_its_network(tmp_path):
    expected, state = second_version()
    separator, card = load(str(written(state, tmp_path / "demucs-e07c671f.th")))
    assert card.architecture == "time-demucs"
    assert card.stems == ("drums", "bass", "other", "vocals")
    assert separator.settings == expected.settings
    assert all(torch.equal(one, expected.state_dict()[key]) for key, one in separator.state_dict().items())


def test_weights_of_demucs_2_that_contradict_each_other_are_refused(tmp_path):
    _, state = second_version()
    with pytest.raises(WeightsError, match="shapes of its convolutions"):
        load(str(written({**state, "decoder.0.0.weight": torch.zeros(3)}, tmp_path / "a.th")))
    without = {key: value for key, value in state.items() if key != "encoder.1.0.bias"}
    with pytest.raises(WeightsError, match="encoder.1.0.bias"):
        load(str(written(without, tmp_path / "b.th")))


def test_a_packed_demucs_2_is_refused_with_a_way_out(tmp_path):
    path = written({"compressed": b"anything"}, tmp_path / "demucs_quantized-07afea75.th")
    with pytest.raises(WeightsError, match="packed by DiffQ"):
        demucs.read([Part(path)])


def test_demucs_in_safetensors_is_read_by_the_name_of_its_class_alone(tmp_path):
    settings = {**TINY, "segment": {"_type": "fraction", "numerator": 3, "denominator": 2}}
    said = {"klass": "demucs.htdemucs.HTDemucs", "args": json.dumps([STEMS]), "kwargs": json.dumps(settings)}
    save_file(network().state_dict(), tmp_path / "model.safetensors", metadata=said)
    separator, _ = load(str(tmp_path / "model.safetensors"))
    assert separator.stems == tuple(STEMS)
    save_file(network().state_dict(), tmp_path / "bad.safetensors", metadata={**said, "klass": "os.system"})
    with pytest.raises(WeightsError, match="os.system"):
        load(str(tmp_path / "bad.safetensors"))


def test_a_setting_that_is_not_known_is_named(tmp_path, published_class):
    path = written(package(published_class, kwargs={**TINY, "wobble": True}), tmp_path / "model.th")
    with pytest.raises(WeightsError, match="wobble"):
        load(str(path))


def test_magnitudes_and_a_transformer_do_not_go_together(tmp_path, published_class):
    path = written(package(published_class, kwargs={**TINY, "cac": False}), tmp_path / "model.th")
    with pytest.raises(WeightsError, match="with a transformer: complex planes"):
        load(str(path))


def test_networks_of_a_bag_keep_their_weights_for_each_stem(tmp_path, published_class):
    parts = [Part(written(package(published_class), tmp_path / f"{index}.th")) for index in range(2)]
    contents = demucs.read(parts, tuple(STEMS), weights=((1.0, 0.0), (0.0, 1.0)))
    assert contents.architecture == "bag"
    assert [member["weights"] for member in contents.configuration["members"]] == [[1.0, 0.0], [0.0, 1.0]]
    separator = build(contents.architecture, contents.configuration)
    separator.load_state_dict({key: value.float() for key, value in contents.state.items()})
    assert separator.stems == tuple(STEMS)


@pytest.mark.parametrize(
    "name", ["tiny_htdemucs-6b8b92b3.th", pytest.param("tiny_htdemucs.safetensors", marks=pytest.mark.slow)]
)
def test_real_demucs_files_give_the_known_answer(shared, name):
    folder = shared / "formula-weights"
    separator, _ = load(str(folder / name))
    separator.prepare(torch.device("cpu"), "fp32")
    mixture, _ = soundfile.read(folder / "input_3s.flac", dtype="float32", frames=44100, always_2d=True)
    with torch.inference_mode():
        estimates = separator.separate(torch.from_numpy(mixture.T.copy())[None])
    known = np.load(folder / "tiny_htdemucs_known.npz")["forward_1s"]
    np.testing.assert_allclose(estimates[0, ..., ::2].numpy(), known, rtol=0, atol=1e-5 * 1.033)


@pytest.fixture
def stems_folder(tmp_path):
    folder = tmp_path / "umx"
    folder.mkdir()
    for name, data in speech_files().items():
        (folder / name).write_bytes(data)
    return folder


def test_a_folder_of_open_unmix_becomes_one_separator(stems_folder):
    separator, card = load(str(stems_folder))
    assert card.architecture == "open-unmix"
    assert set(card.stems) == {"speech", "noise"}
    theirs = load_safely(stems_folder / "noise.pth")
    ours = separator.state_dict()
    assert torch.equal(ours["networks.noise.fc1.weight"], theirs["fc1.weight"])
    assert not [key for key in ours if "window" in key]


def test_one_file_of_open_unmix_is_a_separator_of_one_stem(stems_folder):
    shutil.copy(stems_folder / "speech.pth", stems_folder / "speech-0123abcd.pth")
    separator, card = load(str(stems_folder / "speech-0123abcd.pth"))
    assert separator.stems == ("speech",)
    assert card.configuration["wiener_iterations"] == 0


def test_the_transform_of_a_trained_open_unmix_is_read(stems_folder):
    (stems_folder / "separator.json").write_text(json.dumps({"nfft": 1024, "nhop": 256, "sample_rate": 22050}))
    contents = open_unmix.read(open_unmix.parts_of(stems_folder))
    assert contents.sample_rate == 22050
    assert contents.configuration["hop_length"] == 256
    (stems_folder / "separator.json").write_text(json.dumps({"nfft": 2048}))
    with pytest.raises(WeightsError, match="does not fit the weights"):
        open_unmix.read(open_unmix.parts_of(stems_folder))


def test_the_published_sizes_of_open_unmix_are_read_off_the_shapes(shared, tmp_path):
    for name, hidden in (("umxhq", 512), ("umxl", 1024)):
        rows = (shared / "formula-weights" / f"openunmix_{name}.keys.txt").read_text().splitlines()
        shapes = {row.split("\t")[0]: tuple(json.loads(row.split("\t")[1].strip("()").join("[]").replace(",]", "]")))
                  for row in rows}  # fmt: skip
        path = written({key: torch.zeros(shape, dtype=torch.float16) for key, shape in shapes.items()},
                       tmp_path / "vocals-c8df74a5.pth")  # fmt: skip
        contents = open_unmix.read([Part(path, "vocals")])
        sizes = {"hidden_size": hidden, "heard_bins": 1487, "n_fft": 4096, "channels": 2, "layers": 3}
        assert contents.configuration.items() >= sizes.items()
        assert contents.stems == ("vocals",)


def test_the_published_tdc_unet_is_read(shared):
    path = shared / "unet-cac-tdc17-vocals" / "original_cac_tdc_17_vocals_top1.pt"
    contents = tdc_unet.read([Part(path)])
    expected = load_file(shared / "unet-cac-tdc17-vocals" / "vocals_top1.safetensors")
    assert contents.state.keys() == {f"network.{key}" for key in expected}
    assert all(torch.equal(contents.state[f"network.{key}"], value) for key, value in expected.items())
    assert load(str(path))[0].stems == ("vocals",)
    sizes = {"levels": 8, "block": "tdc", "n_fft": 2048, "internal_channels": 24, "dense_layers": 5, "channels": 2}
    assert contents.configuration.items() >= sizes.items()


def test_a_tfc_tdf_unet_of_several_gpus_is_read(shared, tmp_path):
    rows = (shared / "formula-weights" / "tfc_tdf_large.keys.txt").read_text().splitlines()
    keys = {"module." + row.split("\t")[0].removeprefix("module."): row.split("\t")[1] for row in rows}
    state = {key: torch.zeros(json.loads(shape.strip("()").join("[]").replace(",]", "]")))
             for key, shape in keys.items()}  # fmt: skip
    contents = tdc_unet.read([Part(written(state, tmp_path / "large.pt"))])
    assert contents.configuration.items() >= {"levels": 4, "block": "tfc-tdf", "n_fft": 4096}.items()
    assert all(key.startswith("network.") and "module." not in key for key in contents.state)


@pytest.mark.parametrize("task", ["vocal", "bass"])
def test_layers_of_keras_become_the_state_of_deep_salience(shared, task):
    from mss_models.networks.deep_salience import DeepSalience

    expected = load_file(shared / "deep-salience" / f"{task}.safetensors")
    contents = deep_salience.from_layers(keras_layers(expected), Path("x.h5"))
    assert contents.keys() == expected.keys()
    assert all(torch.equal(contents[key], value) for key, value in expected.items())
    DeepSalience.from_weights(contents)


def keras_layers(state):
    """Write a state dict the way Keras does: its own names, its own order of axes."""
    layers = {}
    names = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
    for key, value in state.items():
        layer, kind = key.split(".")
        if layer.startswith("bn"):
            layers.setdefault(f"batch_normalization_{int(layer[2:]) + 7}", {})[names[kind]] = value.numpy()
        elif kind == "weight":
            layers.setdefault(layer, {})["kernel"] = value.permute(2, 3, 1, 0).numpy()
        else:
            layers.setdefault(layer, {})["bias"] = value.numpy()
    return layers


def test_hdf5_files_of_keras_are_read(shared, tmp_path):
    h5py = pytest.importorskip("h5py")
    expected = load_file(shared / "deep-salience" / "vocal.safetensors")
    with h5py.File(tmp_path / "vocal.h5", "w") as file:
        for layer, arrays in keras_layers(expected).items():
            for name, array in arrays.items():
                file[f"{layer}/{layer}/{name}:0"] = array
    contents = deep_salience.read([Part(tmp_path / "vocal.h5")])
    assert all(torch.equal(contents.state[key], value) for key, value in expected.items())


def test_other_files_of_torch_are_refused_with_the_families_there_are(tmp_path):
    path = written({"weight": torch.zeros(3)}, tmp_path / "x.pt")
    with pytest.raises(WeightsError, match="its family is not known.*--architecture.*open-unmix, demucs"):
        load(str(path))


def test_a_family_that_does_not_fit_is_refused(stems_folder, cache):
    with pytest.raises(WeightsError, match="no package of Demucs"):
        load(str(stems_folder / "speech.pth"), family="demucs")
    with pytest.raises(UsageError, match="`--architecture oud` is not known; use one of open-unmix"):
        load(str(stems_folder / "speech.pth"), family="oud")


def test_a_checkpoint_is_converted_once(stems_folder, cache):
    told = []
    first = convert_local(stems_folder, cache, family=None, listener=told.append)
    made = first.stat().st_mtime_ns
    assert convert_local(stems_folder, cache, family=None, listener=told.append) == first
    assert first.stat().st_mtime_ns == made
    assert len(told) == 1
    (stems_folder / "speech.pth").write_bytes(speech_files(seed=5)["speech.pth"])
    assert convert_local(stems_folder, cache, family=None, listener=told.append) != first


def test_the_card_tells_where_the_weights_are_from(stems_folder):
    card = read_card(checkpoint_of(str(stems_folder)))
    assert card.licence == "not known: a file of others"
    assert [source.split(",")[0] for source in card.data] == ["noise.pth", "speech.pth"]
    assert dataclasses.asdict(card)["steps"] is None


def test_weights_that_are_no_numbers_are_refused(tmp_path):
    state = torch.load(io.BytesIO(speech_files()["speech.pth"]), weights_only=True)
    state["fc2.weight"][0, 0] = float("nan")
    with pytest.raises(WeightsError, match="`networks.bad.fc2.weight` holds NaN"):
        load(str(written(state, tmp_path / "bad.pth")))
