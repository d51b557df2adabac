"""Several networks trained together: the differentiable way agrees with the fast way and reaches all weights."""

import pytest
import torch
from torch.testing import assert_close

from mss_models.errors import ShapeError
from mss_models.networks.front_end import FrontEnd
from mss_models.networks.mask_separator import MaskSeparator, MaskSettings
from mss_models.networks.per_stem import PerStemSeparator
from mss_models.stft import StftSettings

GRIDS = (StftSettings(1024, 256), StftSettings(512, 128), StftSettings(1024, 256))


def separator(residual: str | None, *, heads=("polar", "sigmoid", "cartesian")) -> PerStemSeparator:
    torch.manual_seed(0)
    members = [
        MaskSeparator(
            MaskSettings((stem,), FrontEnd(22_050, 2, grid, 200), head, 16, levels=2, base_channels=4, dropout_layers=0)
        )
        for stem, grid, head in zip(("vocals", "drums", "bass"), GRIDS, heads, strict=True)
    ]
    return PerStemSeparator(members, residual=residual).eval()


def mixture() -> torch.Tensor:
    return torch.rand(2, 2, 4000, generator=torch.Generator().manual_seed(1)) - 0.5


@pytest.mark.parametrize("residual", [None, "other"])
def test_the_differentiable_way_agrees_with_the_fast_way(residual):
    made = separator(residual)
    made.prepare(torch.device("cpu"), "fp32")
    with torch.no_grad():
        estimates = made(mixture())
    assert_close(estimates, made.separate(mixture()), rtol=0, atol=2e-6)
    assert estimates.shape == (2, len(made.stems), 2, 4000)


def test_the_networks_stems_are_all_but_the_residual():
    assert separator("other").network_stems == ("vocals", "drums", "bass")
    assert separator(None).network_stems == separator(None).stems == ("vocals", "drums", "bass")


def test_each_network_learns_from_its_own_stem_alone():
    made = separator("other").train()
    for place, stem in enumerate(made.network_stems):
        made.zero_grad()
        made(mixture())[:, place].square().mean().backward()
        reached = {
            name.split(".")[1] for name, value in made.named_parameters() if value.grad is not None and value.grad.any()
        }
        assert reached == {stem}


def test_every_weight_learns_when_all_are_trained_together():
    made = separator("other").train()
    made(mixture())[:, : len(made.network_stems)].square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in made.parameters())


def test_mixtures_of_other_axes_are_refused():
    with pytest.raises(ShapeError, match="mixture"):
        separator(None)(torch.zeros(1, 1, 100))
