import pytest

from mss_cli.training.recipe_errors import RecipeError
from mss_cli.training.recipe_file import read_recipe

SMALL = """\
name: small
source: a test
network: {preset: thesis-vocals}
data:
  train:
    - {kind: folders, root: songs}
    - {kind: pairs, root: pairs}
  stems: {vocals: [vocals], rest: ["*"]}
  frames: 128
loss: [{term: magnitude-l1}]
training: {steps: 10}
"""


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text(SMALL)
    return file


def test_a_place_in_a_list_is_replaced(path):
    sources = read_recipe(path, ["data.train.1.root=/other place"]).recipe.data.train
    assert [str(source.root) for source in sources] == ["songs", "/other place"]


def test_a_section_that_is_not_there_is_made(path):
    assert read_recipe(path, ["optimizer.learning_rate=1e-3"]).recipe.optimizer.learning_rate == 1e-3
    teacher = ["network.preset=joint-source-to-pitch", "teacher.kind=pyin"]
    assert read_recipe(path, teacher).recipe.teacher.kind == "pyin"


def test_the_last_of_two_holds_and_the_others_stay(path):
    training = read_recipe(path, ["training.batch=3", "training.batch=4"]).recipe.training
    assert (training.batch, training.steps) == (4, 10)


def test_values_are_yaml_and_may_hold_an_equals_sign(path):
    recipe = read_recipe(path, ["source=a=b", "data.train=[{kind: classes, root: c}]", "training.clip=null"]).recipe
    assert recipe.source == "a=b"
    assert [source.kind for source in recipe.data.train] == ["classes"]
    assert recipe.training.clip is None


def test_settings_of_the_network_can_be_set_where_the_file_has_none(path):
    assert read_recipe(path, ["network.settings.base_channels=4"]).recipe.network.settings == {"base_channels": 4}


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("training.stebs=3", "training.stebs: unknown key `stebs`; allowed: steps, batch, "),
        ("trainin.steps=3", "trainin: unknown key `trainin`; allowed: name, source, "),
        ("data.train.2.root=x", "data.train.2: no such place in the list; allowed: 0 to 1"),
        ("data.train.first.root=x", "data.train.first: no such place in the list; allowed: 0 to 1"),
        ("data.train.0.rot=x", "data.train.0.rot: unknown key `rot`; allowed: root, "),
        ("training.steps=many", "training.steps: `many` is not allowed; allowed: whole number >= 1"),
        ("training.steps.x=3", "training.steps.x: `training.steps` is the value `10` and has no keys"),
        ("training.steps", "not an assignment; write `--set key.path=value`"),
        ("=3", "not an assignment; write `--set key.path=value`"),
        ("training..steps=3", "not an assignment; write `--set key.path=value`"),
        ("training.steps=[1", "training.steps: not YAML: "),
        ("training.clip=.nan", "training.clip: `.nan` is no finite number"),
        ("extends=other.yaml", "extends: cannot be set"),
        ("network.settings.levls=3", "network.settings.levls: unknown key `levls`; allowed: stems, "),
    ],
)
def test_what_cannot_be_set_is_told_with_the_flag(override, said, path):
    with pytest.raises(RecipeError) as caught:
        read_recipe(path, [override])
    assert len(caught.value.lines) == 1
    assert caught.value.lines[0].startswith(f"--set {override}: {said}")


def test_mistakes_of_flags_come_after_those_of_the_file(path):
    path.write_text(SMALL.replace("frames: 128", "frames: 0"))
    with pytest.raises(RecipeError) as caught:
        read_recipe(path, ["training.batch=0", "name=X"])
    assert [line.split(":")[0] for line in caught.value.lines] == [str(path), "--set training.batch=0", "--set name=X"]
