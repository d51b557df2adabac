import numpy as np
import pytest
import torch

from mss_cli.errors import UsageError
from mss_cli.events import Warned
from mss_cli.training.batches import SkippedSongs
from mss_cli.training.examples import Key
from mss_cli.training.recipe import Recipe
from mss_cli.training.validation_examples import recipe_examples, valid_batches
from mss_models.stft import StftSettings
from training_songs import RATE, write_pack, write_songs

FORM = {"sample_rate": RATE, "channels": 2, "samples": 600}


def recipe(train, valid=(), *, seed=0, teacher=None, examples=5):
    return Recipe.model_validate(
        {
            "name": "small",
            "source": "ours",
            "network": {"preset": "unet-vocals-2017"},
            "data": {
                "train": train,
                "valid": list(valid),
                "stems": {"vocals": ["vocals"], "accompaniment": ["*"]},
                "seconds": 1.0,
                "valid_examples": examples,
            },
            "loss": [{"term": "magnitude-l1"}],
            "training": {"steps": 1, "seed": seed},
            "teacher": teacher,
        }
    )


def folders(root, **options):
    return {"kind": "folders", "root": str(root), **options}


def test_a_recipe_without_validation_sources_has_no_validation(tmp_path):
    write_songs(tmp_path / "songs", 1)
    assert valid_batches(recipe([folders(tmp_path / "songs")]), cache=tmp_path / "cache", batch=2, **FORM) is None


def test_the_validation_is_the_same_at_every_iteration_and_for_every_seed(tmp_path):
    write_songs(tmp_path / "songs", 3)
    source = [folders(tmp_path / "songs")]
    made = [
        list(valid_batches(recipe(source, source, seed=seed), cache=tmp_path / "cache", batch=2, **FORM))
        for seed in (1, 2)
    ]
    once = valid_batches(recipe(source, source), cache=tmp_path / "cache", batch=2, **FORM)
    assert len(once) == 3
    made += [list(once), list(once)]
    assert [len(batch.seeds) for batch in made[0]] == [2, 2, 1]
    for other in made[1:]:
        for one, two in zip(made[0], other, strict=True):
            assert torch.equal(one.stems, two.stems)


def test_another_size_of_batch_validates_on_the_same_examples(tmp_path):
    write_songs(tmp_path / "songs", 3)
    source = [folders(tmp_path / "songs")]
    stems = [
        torch.cat([batch.stems for batch in valid_batches(recipe(source, source), cache=tmp_path, batch=size, **FORM)])
        for size in (1, 5)
    ]
    assert torch.equal(stems[0], stems[1])


def test_every_iteration_tells_of_broken_songs_that_would_have_validated(tmp_path):
    write_songs(tmp_path / "songs", 2)
    (tmp_path / "songs" / "song 0" / "bass.wav").write_bytes(b"no sound")
    events = []
    source = [folders(tmp_path / "songs")]
    batches = valid_batches(
        recipe(source, source), cache=tmp_path / "cache", batch=5, skipped=SkippedSongs(events.append), **FORM
    )
    assert len(list(batches)) == 1
    assert [type(event) for event in events] == [Warned]


def test_the_seed_of_the_recipe_decides_the_training_examples(tmp_path):
    write_songs(tmp_path / "songs", 3)
    made = [
        recipe_examples(recipe([folders(tmp_path / "songs")], seed=seed), cache=tmp_path / "cache", **FORM)[Key(0, 0)]
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(made[0].stems, made[1].stems)
    assert not np.array_equal(made[0].stems, made[2].stems)


def test_two_sources_of_notes_play_songs_of_their_own(tmp_path):
    pack = {"kind": "notes", "root": str(write_pack(tmp_path / "pack")), "songs": 1, "seconds": 2.0}
    examples = recipe_examples(recipe([pack, pack]), cache=tmp_path / "cache", **FORM)
    for source, number in examples.songs():
        assert examples.fill(source, number) is None
    assert len(list((tmp_path / "cache").glob("*.json"))) == 2


def test_a_teacher_needs_the_transform_of_the_network(tmp_path):
    pack = {
        "kind": "notes",
        "root": str(write_pack(tmp_path / "pack")),
        "songs": 1,
        "vocals": "sung-notes",
        "seconds": 3.0,
    }
    made = recipe([pack], teacher={"kind": "labels"})
    with pytest.raises(UsageError, match="no transform"):
        recipe_examples(made, cache=tmp_path / "cache", **FORM)
    transform = StftSettings(1024, 256)
    example = recipe_examples(made, cache=tmp_path / "cache", transform=transform, **FORM)[Key(0, 0)]
    assert example.salience.shape == (360, transform.frames(600))
