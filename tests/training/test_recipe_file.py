import json
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mss_cli.console.console import Console, Output
from mss_cli.errors import ExitCode, UsageError
from mss_cli.training.recipe_errors import RecipeError
from mss_cli.training.recipe_file import effective, print_config, read_recipe
from mss_cli.training.recipe_parts import resolve_network

RECIPES = sorted((Path(__file__).resolve().parents[2] / "configs" / "train").glob("*.yaml"))

SMALL = """\
name: small
source: a test
network:
  preset: thesis-vocals
data:
  train:
    - {kind: folders, root: songs}
  stems:
    vocals: [vocals]
    rest: ["*"]
  frames: 128
loss:
  - {term: magnitude-l1}
training: {steps: 10}
"""


def write(folder, text, name="recipe.yaml"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def mistakes_of(path, *overrides):
    with pytest.raises(RecipeError) as caught:
        read_recipe(path, overrides)
    return [line.removeprefix(str(path)) for line in caught.value.lines]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_shipped_recipe_is_accepted_and_what_is_printed_is_the_same_recipe(path, tmp_path):
    loaded = read_recipe(path)
    assert loaded.recipe.name == path.stem
    text = print_config(loaded)
    again = read_recipe(write(tmp_path, text))
    assert print_config(again) == text
    assert effective(again) == effective(loaded)
    for section in ("data", "mixing", "augmentation", "loss", "teacher", "optimizer", "training"):
        assert getattr(again.recipe, section) == getattr(loaded.recipe, section)


def test_all_systems_of_the_thesis_are_there():
    names = {path.stem for path in RECIPES}
    assert {"unet2017-vocals", "unet2017-instrumental", "unet2017-vocals-no-skips"} <= names
    wirings = [name for name in names if name.startswith("thesis5-")]
    assert len(wirings) == 10
    for system in ("noncomplex", "complex-sdr", "complex-sdr-mag"):
        for stem in ("", "-vocals", "-drums", "-guitar", "-bass"):
            assert f"thesis6-{system}{stem}" in names


@pytest.mark.parametrize(
    ("name", "terms"),
    [
        ("thesis6-noncomplex", {"magnitude-l1": 1.0}),
        ("thesis6-complex-sdr", {"sdr": 1.0, "magnitude-l1": 0.0}),
        ("thesis6-complex-sdr-mag", {"sdr": 1.0, "magnitude-l1": 1.0}),
    ],
)
def test_the_losses_of_table_6_2(name, terms):
    recipe = read_recipe(next(path for path in RECIPES if path.stem == name)).recipe
    assert {term.term: term.weight for term in recipe.loss} == terms
    assert (recipe.data.frames, recipe.training.batch) == (256, 16)


def test_the_vocal_network_of_2017_is_trained_as_in_chapter_4():
    recipe = read_recipe(next(path for path in RECIPES if path.stem == "unet2017-vocals")).recipe
    assert recipe.data.frames == 128
    assert recipe.optimizer.learning_rate == 2e-4
    assert recipe.optimizer.betas[0] == 0.5
    assert [(term.term, term.target) for term in recipe.loss] == [("magnitude-l1", "rectified-difference")]
    assert recipe.data.train[0].kind == "pairs"


FIVE = """\
name: five
source: a test
network:
  preset: thesis-vocals
  settings: {levls: 5}
data:
  train:
    - kind: musdb18-hq
      root: data/musdb18hq
  stems: {vocals: [vocals], rest: ["*"]}
  frames: 128
loss:
  - {term: magnitude_l1}
optimiser: {learning_rate: 1e-4}
training:
  steps: 1000
  batch: 0
"""


def test_five_mistakes_are_told_at_once_with_place_allowed_values_and_nearest_name(tmp_path):
    lines = mistakes_of(write(tmp_path, FIVE))
    assert [line.split(" ")[0] for line in lines] == [":5:14:", ":8:7:", ":13:6:", ":14:1:", ":17:3:"]
    assert lines[0].startswith(":5:14: network.settings.levls: unknown key `levls`; allowed: stems, ")
    assert lines[0].endswith("; did you mean `levels`?")
    assert ": data.train.0.kind: unknown kind `musdb18-hq`; allowed: musdb18, musdb18hq, " in lines[1]
    assert lines[1].endswith("; did you mean `musdb18hq`?")
    assert ": loss.0.term: unknown value `magnitude_l1`; allowed: magnitude-l1, magnitude-l2, " in lines[2]
    assert lines[2].endswith("; did you mean `magnitude-l1`?")
    assert lines[3].startswith(":14:1: optimiser: unknown key `optimiser`; allowed: name, source, ")
    assert lines[3].endswith("; did you mean `optimizer`?")
    assert lines[4] == ":17:3: training.batch: `0` is not allowed; allowed: whole number >= 1 and <= 65536"


def test_a_wrong_recipe_is_a_usage_error_of_which_every_line_is_shown(tmp_path, capsys):
    path = write(tmp_path, FIVE)
    with pytest.raises(UsageError) as caught:
        read_recipe(path)
    assert caught.value.code is ExitCode.USAGE
    console = Console(Output(json=True, colour=False))
    console.fail(caught.value)
    console.finish(caught.value.code)
    out, err = capsys.readouterr()
    assert len(err.splitlines()) == 5
    assert all(line.startswith(f"error: {path}:") for line in err.splitlines())
    message = json.loads(out)["message"]
    assert all(word in message for word in ("levls", "musdb18-hq", "magnitude_l1", "optimiser", "training.batch"))


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (("frames: 128", ""), ":5:1: data: give either `frames` or `seconds`"),
        (("frames: 128", "frames: 128\n  seconds: 3"), ":5:1: data: give either `frames` or `seconds`"),
        (("steps: 10", ""), ":14:1: training.steps: missing; needs a whole number >= 1"),
        (("training: {steps: 10}", "training:"), ":14:1: training: `null` is not allowed; allowed: mapping"),
        (("training: {steps: 10}", ""), ":1:1: training: missing; needs a mapping"),
        (("kind: folders, ", ""), ":7:7: data.train.0.kind: missing; allowed: musdb18, "),
        (("{kind: folders, root: songs}", "songs"), ":7:7: data.train.0: `songs` is not allowed; allowed: "),
        (("root: songs", "root: songs, split: train"), ":7:36: data.train.0.split: unknown key `split`; "),
        (("root: songs", "root: songs, tracks: []"), ":7:36: data.train.0.tracks: `[]` is not allowed; "),
        (("vocals: [vocals]", "vocals: []"), ":9:5: data.stems.vocals: empty; name stems of the songs, "),
        (('["*"]', '["*", vocals]'), ":10:17: data.stems.rest.1: `vocals` is in `vocals` already"),
        (("    vocals: [vocals]\n", ""), ":8:3: data.stems: has no stem `vocals`, which the network estimates"),
        (("thesis-vocals", "thesis-vocal"), ":4:3: network.preset: unknown preset `thesis-vocal`; allowed: "),
        (("preset: thesis-vocals", "architecture: unett"), ":4:3: network.architecture: unknown architecture `unett`"),
        (("preset: thesis-vocals", "preset: null"), ":3:1: network: give `preset` or `architecture`"),
        (("preset: thesis-vocals", "architecture: classical"), ":3:1: network: `classical` has no weights to train"),
        (("preset: thesis-vocals", "architecture: unet"), ":3:1: network.settings.stems: missing"),
        (("thesis-vocals", "thesis-vocals\n  targets: [vocals]"), ":5:3: network.targets: is for a network per stem"),
        (("thesis-vocals", "thesis-vocals-pair\n  targets: [vocal]"), ":5:13: network.targets.0: unknown stem `vocal`"),
        (("thesis-vocals", "thesis-vocals-pair\n  each: {head: tanh}"), ":5:10: network.each.head: expected one of "),
        (("thesis-vocals", "thesis-vocals\n  settings: {skips: no}"), ":5:14: network.settings.skips: expected true "),
        (("thesis-vocals", "joint-pitch-only"), ":1:1: teacher: missing; the network needs the salience"),
        (("thesis-vocals", "joint-oracle-pitch"), ":1:1: teacher: missing; the network needs the salience"),
        (("loss:", "teacher: {kind: pyin}\nloss:"), ":12:1: teacher: the network has no use for the salience"),
        (("magnitude-l1", "salience-l2"), ":13:6: loss.0.term: `salience-l2` needs a network that estimates pitch"),
        (("magnitude-l1", "sdr, target: rectified-difference"), ":13:17: loss.0.target: `rectified-difference` is for"),
        (("magnitude-l1", "magnitude-l1, weight: 0"), ":12:1: loss: every weight is 0: nothing is learned"),
        (("loss:", "augmentation: {stem: [{step: gian}]}\nloss:"), ":12:24: augmentation.stem.0.step: unknown step "),
        (
            ("loss:", "augmentation: {track: [{step: gain, settings: {gain: [0, 1]}}]}\nloss:"),
            ":12:48: augmentation.track.0.settings.gain: unknown key `gain`; allowed: gain_db; did you mean `gain_db`?",
        ),
        (
            ("loss:", "augmentation: {track: [{step: gain, settings: {gain_db: [0, 99]}}]}\nloss:"),
            ":12:48: augmentation.track.0.settings.gain_db: must be a number in [-60, 30], got 99",
        ),
        (
            ("loss:", "augmentation: {stem: [{step: stem-dropout}]}\nloss:"),
            ":12:24: augmentation.stem.0.step: `stem-dropout` chooses among the stems of an example; write it under ",
        ),
        (("steps: 10", "steps: .inf"), ":14:19: training.steps: `.inf` is no finite number"),
        (("a test", '"\\ud800"'), ":2:9: source: '\\ud800' is no text"),
        (("steps: 10", "steps: 1e999"), ":14:19: training.steps: `1e999` is no finite number"),
        (("steps: 10", f"steps: {'9' * 5000}"), f":14:19: training.steps: `{'9' * 30}...` has too many digits"),
        (("steps: 10", "steps: true"), ":14:12: training.steps: `true` is not allowed; allowed: whole number >= 1"),
        (("steps: 10", "steps: 1, seed: 4294967296"), ":14:22: training.seed: `4294967296` is not allowed; allowed: "),
        (("loss:", "optimizer: {betas: [0.9, 1]}\nloss:"), ":12:26: optimizer.betas.1: `1` is not allowed; allowed: "),
        (("loss:", "optimizer: {learning_rate: 1e300}\nloss:"), ":12:13: optimizer.learning_rate: `1e+300` is not "),
        (("frames: 128", "seconds: 1e-9"), ":11:3: data.seconds: an example would have "),
        (("frames: 128", "seconds: 1e300"), ":11:3: data.seconds: an example would have "),
        (("frames: 128", "frames: 1"), ":11:3: data.frames: an example would have "),
        (("steps: 10", "steps: !!python/name:os.system x"), ":14:19: training.steps: tag "),
        (("steps: 10", "steps: 10, steps: 11"), ":14:23: training.steps: key stands twice, first in line 14"),
        (("steps: 10", "steps: [10"), ":14:22: not YAML: while parsing a flow sequence, "),
    ],
)  # fmt: skip
def test_one_mistake_is_told_with_its_place(change, line, tmp_path):
    assert SMALL.count(change[0]) == 1
    lines = mistakes_of(write(tmp_path, SMALL.replace(*change)))
    assert lines[0].startswith(line), lines
    assert len(lines) == 1 or "joint" in change[1]
    assert not lines[0].endswith(".")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", ":1:1: a recipe is a mapping of keys"),
        (b"- 1\n", ":1:1: a recipe is a mapping of keys"),
        (b"a: 1\n---\nb: 2\n", ":2:1: not YAML: "),
        (b"name: \x00\n", ":1:1: not YAML: "),
        (b"\xff\xfe\xff", ": cannot read: not text in UTF-8"),
        (b"&a [*a]\n", ":1:1: too large: "),
        (b"a: &a [*a]\n", ":1:1: too large: "),
        (b"a: " + b"[" * 3000 + b"]" * 3000, ":1:1: too large: "),
    ],
)
def test_a_file_that_is_no_recipe_is_told(content, line, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    assert mistakes_of(path)[0].startswith(line)


@pytest.mark.parametrize(
    "setting", ["base_channels: 1000000000000000000", "base_channels: 99999999999999999999", "levels: 60"]
)
def test_a_network_beyond_all_bounds_is_a_mistake(setting, tmp_path):
    lines = mistakes_of(write(tmp_path, SMALL.replace("thesis-vocals", f"thesis-vocals\n  settings: {{{setting}}}")))
    assert len(lines) == 1
    assert ": network.settings" in lines[0]


def test_a_file_that_is_not_there_is_told(tmp_path):
    assert mistakes_of(tmp_path / "none.yaml") == [": cannot read: no such file or directory"]


def test_aliases_that_multiply_are_stopped(tmp_path):
    levels = "".join(f"k{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]\n" for n in range(1, 9))
    lines = mistakes_of(write(tmp_path, "k0: &l0 [1]\n" + levels))
    assert lines == [":1:1: too large: more than 20000 values, or deeper than 50 levels"]


def test_extends_lays_mappings_together_and_replaces_lists(tmp_path):
    write(tmp_path, SMALL.replace("{steps: 10}", "{steps: 10, batch: 2}"), "base.yaml")
    write(tmp_path, "extends: base.yaml\nname: middle\ntraining: {steps: 20}\n", "middle.yaml")
    (tmp_path / "deep").mkdir()
    lists = "data:\n  train:\n    - {kind: pairs, root: p}\n    - {kind: classes, root: c}\n"
    top = write(tmp_path / "deep", "extends: ../middle.yaml\n" + lists)
    loaded = read_recipe(top)
    assert loaded.recipe.name == "middle"
    assert (loaded.recipe.training.steps, loaded.recipe.training.batch) == (20, 2)
    assert [source.kind for source in loaded.recipe.data.train] == ["pairs", "classes"]
    assert loaded.recipe.data.frames == 128
    assert [path.name for path in loaded.files] == ["recipe.yaml", "middle.yaml", "base.yaml"]


def test_a_mistake_is_told_in_the_file_where_it_stands(tmp_path):
    base = write(tmp_path, SMALL.replace("steps: 10", "stebs: 10"), "base.yaml")
    top = write(tmp_path, "extends: base.yaml\n\nname: Top\n")
    with pytest.raises(RecipeError) as caught:
        read_recipe(top)
    places = [line.split(": ")[0] for line in caught.value.lines]
    assert f"{base}:14:12" in places
    assert f"{top}:3:1" in places


@pytest.mark.parametrize("chain", [["a"], ["b", "a"], ["b", "c", "b"]])
def test_a_recipe_that_extends_itself_is_refused(chain, tmp_path):
    for name, below in zip(["a", *chain], chain, strict=False):
        write(tmp_path, f"extends: {below}.yaml\n", f"{name}.yaml")
    with pytest.raises(RecipeError, match=r"\.yaml:1:1: extends: a recipe extends itself: .*a\.yaml -> "):
        read_recipe(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("none.yaml", ":2:1: extends: cannot read `"),
        ("[a.yaml]", ":2:1: extends: expected the path of another recipe"),
    ],
)
def test_a_base_that_cannot_be_read_is_told(value, line, tmp_path):
    assert mistakes_of(write(tmp_path, f"name: x\nextends: {value}\n"))[0].startswith(line)


def test_numbers_and_words_mean_what_they_look_like(tmp_path):
    text = SMALL.replace("a test", "no").replace("steps: 10", "steps: 0010, checkpoint_minutes: 1e-1, clip: 1e3")
    recipe = read_recipe(write(tmp_path, text + "optimizer: {learning_rate: 1e-4}\n")).recipe
    assert recipe.source == "no"
    assert (recipe.training.steps, recipe.training.checkpoint_minutes, recipe.training.clip) == (10, 0.1, 1000.0)
    assert recipe.optimizer.learning_rate == 1e-4


@pytest.mark.parametrize(
    ("word", "value"), [("yes", True), ("on", True), ("no", False), ("off", False), ("true", True)]
)
def test_flags_take_the_words_of_both_versions_of_yaml(word, value, tmp_path):
    text = SMALL.replace("{kind: folders, root: songs}", f"{{kind: notes, root: x, share_alike: {word}}}")
    source = read_recipe(write(tmp_path, text)).recipe.data.train[0]
    assert source.kind == "notes"
    assert source.share_alike is value


def test_numbers_inside_settings_are_numbers(tmp_path):
    step = "augmentation: {track: [{step: gain, settings: {gain_db: [-1e1, 1e-1]}}]}\n"
    assert read_recipe(write(tmp_path, step + SMALL)).recipe.augmentation.track[0].settings["gain_db"] == [-10.0, 0.1]


@settings(deadline=None, max_examples=50)
@given(source=st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=20))
def test_any_text_survives_printing(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("recipe")
    path = write(folder, SMALL.replace("source: a test", f"source: {json.dumps(source, ensure_ascii=False)}"))
    loaded = read_recipe(path)
    assert loaded.recipe.source == source
    printed = print_config(loaded)
    assert read_recipe(write(folder, printed)).recipe.source == source
    assert yaml.safe_load(printed)["source"] == source


@pytest.mark.parametrize(
    "word", ["no", "1e-4", "0x1F", "12:30", "null", "~", "true", "010", "2026-11-21", "=", "<<", ""]
)
def test_words_with_a_meaning_are_printed_so_that_both_versions_of_yaml_read_text(word, tmp_path):
    loaded = read_recipe(write(tmp_path, SMALL.replace("source: a test", f"source: '{word}'")))
    printed = print_config(loaded)
    assert yaml.safe_load(printed)["source"] == word
    assert read_recipe(write(tmp_path, printed)).recipe.source == word


def test_the_effective_recipe_names_every_key_and_is_json(tmp_path):
    values = json.loads(json.dumps(effective(read_recipe(write(tmp_path, SMALL))), allow_nan=False))
    assert values["network"]["preset"] is None
    assert values["network"]["settings"]["n_fft"] == 1024
    assert values["optimizer"]["weight_decay"] == 0.0
    assert list(values)[:3] == ["name", "source", "licence"]


def test_targets_leave_only_their_networks_and_no_residual():
    path = next(path for path in RECIPES if path.stem == "thesis6-noncomplex-drums")
    configuration = resolve_network(read_recipe(path).recipe.network)
    assert [network["stems"] for network in configuration.settings["networks"]] == [["drums"]]
    assert configuration.settings["residual"] is None
    whole = next(path for path in RECIPES if path.stem == "thesis6-noncomplex")
    assert resolve_network(read_recipe(whole).recipe.network).settings["residual"] == "other"


def test_each_is_laid_over_every_network():
    path = next(path for path in RECIPES if path.stem == "thesis6-complex-sdr")
    network = read_recipe(path, ["network.each.dropout_layers=0"]).recipe.network
    assert [member["dropout_layers"] for member in resolve_network(network).settings["networks"]] == [0, 0, 0, 0]


def test_a_recipe_says_where_it_comes_from_in_its_first_line():
    for path in RECIPES:
        head = path.read_text(encoding="utf-8").split("name:")[0]
        sources = (
            r"thesis \(Jansson 2019\)|Jansson, \"Musical source separation|report \(Goel et al\. 2021\)|Sawata et al\."
        )
        assert re.search(sources, head.replace("\n# ", " ")), path


@pytest.mark.parametrize("stage", ["stem", "track"])
@pytest.mark.parametrize("step", ["tempo-change", "pitch-shift", "resampling", "stem-dropout"])
def test_a_salience_is_not_learned_from_vocals_that_a_step_moves_away_from_it(tmp_path, step, stage):
    learns = SMALL.replace("thesis-vocals", "joint-pitch-only").replace("magnitude-l1", "salience-l2")
    path = write(tmp_path, f"{learns}teacher: {{kind: pyin}}\naugmentation:\n  {stage}: [{{step: {step}}}]\n")
    assert any(f"`{step}` changes the vocals and not their salience" in line for line in mistakes_of(path))


def test_levels_may_change_where_a_salience_is_learned(tmp_path):
    learns = SMALL.replace("thesis-vocals", "joint-pitch-only").replace("magnitude-l1", "salience-l2")
    path = write(tmp_path, f"{learns}teacher: {{kind: pyin}}\naugmentation:\n  stem: [{{step: gain}}]\n")
    assert read_recipe(path).recipe.augmentation.stem[0].step == "gain"


@pytest.mark.parametrize(
    ("loss", "line"),
    [
        ("{term: magnitude-l1}", "loss: each task is trained in its own part of the steps"),
        ("{term: salience-l2}\n  - {term: magnitude-l1, weight: 0}", "loss: each task is trained in its own part"),
        (
            "{term: magnitude-l1, n_fft: 512}\n  - {term: salience-l2}",
            "loss.0.n_fft: is not for networks of vocals and",
        ),
    ],
)
def test_a_loss_that_a_network_of_vocals_and_pitch_cannot_learn_is_told(loss, line, tmp_path):
    text = SMALL.replace("thesis-vocals", "joint-separately-trained").replace("{term: magnitude-l1}", loss)
    lines = mistakes_of(write(tmp_path, text.replace("loss:", "teacher: {kind: pyin}\nloss:")))
    assert len(lines) == 1
    assert line in lines[0]
