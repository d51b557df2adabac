from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from mss_models.errors import ShapeError, StateMismatch
from mss_models.networks.deep_salience import CONTEXT_FRAMES, TASKS, DeepSalience

PUBLISHED = Path(__file__).parents[2].parent / "shared" / "checkpoints" / "deep-salience"
needs_published = pytest.mark.skipif(not PUBLISHED.exists(), reason="shared/checkpoints/deep-salience is absent")


def published(task):
    from safetensors.torch import load_file

    return DeepSalience.from_weights(load_file(PUBLISHED / f"{task}.safetensors"))


@needs_published
@pytest.mark.parametrize("task", TASKS)
def test_published_weights_give_the_known_answer_of_the_original(task):
    known = np.load(PUBLISHED / "known_net_random.npz")
    salience = published(task)(torch.from_numpy(known["net_in"])[None])[0]
    np.testing.assert_allclose(salience, known[f"net_out_{task}"], rtol=0, atol=2e-5)


@needs_published
@pytest.mark.parametrize("task", ["vocal", pytest.param("multif0", marks=pytest.mark.slow)])
def test_the_salience_of_music_is_the_original_s(task):
    levels = torch.from_numpy(np.load(PUBLISHED / "known_hcqt_2s.npz")["hcqt"])
    known = np.load(PUBLISHED / "known_salience_2s.npz")[f"salience_{task}"]
    np.testing.assert_allclose(published(task)(levels[None])[0], known, rtol=0, atol=2e-5)


@needs_published
def test_the_network_has_exactly_the_published_keys():
    lines = (line.split("\t") for line in (PUBLISHED / "keys.txt").read_text().splitlines())
    listed = {name: shape for name, shape, _ in lines}
    own = {k: str(tuple(v.shape)) for k, v in DeepSalience().state_dict().items() if "num_batches" not in k}
    assert own == listed


def test_frames_further_away_than_the_context_change_nothing():
    torch.manual_seed(0)
    network = DeepSalience().eval().requires_grad_(False)
    levels = torch.rand(1, 6, 360, 40)
    changed = levels.clone()
    changed[..., 20 + CONTEXT_FRAMES + 1 :] = 0
    assert_close(network(changed)[..., :21], network(levels)[..., :21], rtol=0, atol=1e-6)
    changed[..., 20 + CONTEXT_FRAMES] = 0
    assert (network(changed)[..., 20] != network(levels)[..., 20]).any()


def test_a_shape_that_is_no_stack_is_refused():
    with pytest.raises(ShapeError, match="levels"):
        DeepSalience()(torch.zeros(1, 5, 360, 10))


def test_weights_of_another_network_are_refused_by_key():
    state = {k: v for k, v in DeepSalience().state_dict().items() if "num_batches" not in k}
    state["squishy2.bias"] = state.pop("squishy.bias")
    with pytest.raises(StateMismatch, match=r"1 missing: squishy.bias; 1 unexpected: squishy2.bias"):
        DeepSalience.from_weights(state)
