"""What the package says of published weights: in itself, and against where it was read."""

import json
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from mss_cli.errors import UsageError, WeightsError
from mss_cli.evaluation.published import KINDS, find_published
from mss_cli.main import main
from mss_cli.weights.cache import default_folder
from mss_cli.weights.foreign import FAMILIES
from mss_cli.weights.manifest import ENTRIES, find
from mss_cli.weights.published import manifest, read_manifest

MODELS = list(manifest().models.values())
CHECKPOINTS = Path(__file__).parents[2].parent / "shared" / "checkpoints" / "README.md"
HEX = re.compile(r"[0-9a-f]+")


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_a_published_model_says_what_it_is_and_under_which_licence(model):
    assert model.family in FAMILIES
    assert model.licence
    assert model.licence_source
    assert model.derived_from
    assert model.description
    assert model.sample_rate in (16_000, 22_050, 44_100)
    assert len(set(model.stems)) == len(model.stems)
    assert model.ask or model.licence.startswith("MIT")


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_its_files_lie_at_encrypted_addresses_under_their_names(model):
    assert model.files
    assert len({file.name for file in model.files}) == len(model.files)
    for file in model.files:
        assert Path(file.name).name == file.name
        for address in file.addresses:
            parts = urlsplit(address)
            assert parts.scheme == "https"
            assert parts.path.endswith(f"/{file.name}")


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_its_hashes_are_hashes_and_those_in_file_names_agree(model):
    for file in model.files:
        assert file.sha256 is None or (len(file.sha256) == 64 and HEX.fullmatch(file.sha256))
        assert file.sha256_prefix is None or (len(file.sha256_prefix) == 8 and HEX.fullmatch(file.sha256_prefix))
        in_name = re.search(r"[-_]([0-9a-f]{8})\.(?:pth|th)$", file.name)
        if in_name is not None:
            assert (file.sha256 or file.sha256_prefix).startswith(in_name[1])


@pytest.mark.parametrize("model", [one for one in MODELS if one.score], ids=lambda model: model.name)
def test_its_scores_are_those_that_evaluate_compares_with(model):
    assert model.score.kind in KINDS
    assert set(model.score.values) <= {*model.stems, "mean"}
    if model.score.against is not None:
        system = find_published(model.score.against)
        assert system.kind == model.score.kind
        assert system.dataset == model.score.dataset
        for stem in model.stems:
            assert system.score(stem, "SDR") == model.score.values[stem]


def test_a_bag_has_a_row_for_each_file_and_each_expert_of_it_its_own_stem():
    bag = manifest().models["htdemucs_ft"]
    assert len(bag.bag_weights) == len(bag.files)
    for file, row in zip(bag.files, bag.bag_weights, strict=True):
        assert [stem for stem, weight in zip(bag.stems, row, strict=True) if weight] == [file.role]


def test_open_unmix_has_a_file_for_each_stem():
    for name in ("umx", "umxhq", "umxl", "umxse"):
        model = manifest().models[name]
        assert tuple(file.role for file in model.files) == model.stems


def test_names_are_unique_among_all_that_model_takes():
    names = [*(entry.name for entry in ENTRIES), *manifest().models, *manifest().refused]
    assert len(names) == len(set(names))
    assert all(instead in manifest().models for _, instead in manifest().refused.values())


@pytest.mark.parametrize("name", sorted(manifest().refused))
def test_what_cannot_be_loaded_is_refused_by_name_with_a_way_out(name):
    with pytest.raises(WeightsError, match=r"is refused: .*; take `\w+` instead"):
        find(name)


def test_hashes_and_sizes_of_the_checkpoints_that_are_here_agree_with_their_page():
    if not CHECKPOINTS.exists():
        pytest.skip("the page of the published checkpoints is not here")
    page = CHECKPOINTS.read_text()
    files = [file for model in MODELS if model.family in ("tdc-unet", "deep-salience") for file in model.files]
    known = [file for file in files if file.sha256 is not None]
    assert len(known) == 10
    assert all(f"`{file.sha256}`" in page for file in known)
    for task in ("bass", "melody1", "melody2", "melody3", "multif0", "pitch", "vocal"):
        (file,) = manifest().models[f"deep-salience-{task}"].files
        assert f"| {task} | `{file.sha256}` |" in page


def test_pitch_models_are_no_separators():
    with pytest.raises(UsageError, match="tells pitch and separates nothing.*--pitch-weights"):
        find("deep-salience-vocal")


def test_the_list_of_the_package_is_whole(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("MSS_CLI_WEIGHTS_DIR", str(tmp_path / "none"))
    assert main(["download-weights", "--list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == list(manifest().models)
    keys = {"architecture", "stems", "sample_rate", "files", "licence", "licence_source", "score", "present"}
    for row in rows:
        assert keys <= set(row)
        assert row["present"] is False
        for file in row["files"]:
            assert {"addresses", "bytes", "sha256", "sha256_prefix"} <= set(file)
    assert not (tmp_path / "none").exists()


def test_a_damaged_manifest_is_a_bug_and_says_so():
    with pytest.raises((ValueError, KeyError, TypeError)):
        read_manifest("[[model]]\nname = 'x'\n")


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {"XDG_CACHE_HOME": "/c"}, "/c/mss-cli/weights"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, "/home/ann/.cache/mss-cli/weights"),
        ("linux", {}, "/home/ann/.cache/mss-cli/weights"),
        ("darwin", {}, "/home/ann/Library/Caches/mss-cli/weights"),
        ("win32", {"LOCALAPPDATA": "/home/ann/L"}, "/home/ann/L/mss-cli/weights"),
        ("linux", {"MSS_CLI_WEIGHTS_DIR": "/w", "XDG_CACHE_HOME": "/c"}, "/w"),
    ],
)
def test_weights_lie_where_the_platform_keeps_caches(monkeypatch, platform, environment, expected):
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA", "MSS_CLI_WEIGHTS_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/home/ann", **environment}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.platform", platform)
    assert default_folder().as_posix() == expected
