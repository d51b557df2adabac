"""`check_separator` finds each fault: every broken separator here breaks one law."""

import pytest
import torch

from separators import check_separator
from toys import Gains


class Quiet(Gains):
    """Obeys every law."""

    precisions = ("fp32",)


class ChangesItsInput(Gains):
    def separate(self, mixture):
        return super().separate(mixture.mul_(0.5))


class DrawsNoise(Gains):
    def separate(self, mixture):
        return super().separate(mixture) * torch.rand(1)


class HumsInSilence(Gains):
    def separate(self, mixture):
        return super().separate(mixture) + 1e-9


class MixesTheBatch(Gains):
    def separate(self, mixture):
        return super().separate(mixture + mixture.mean(dim=0, keepdim=True))


class DividesByTheMean(Gains):
    def separate(self, mixture):
        deviation = mixture - mixture.mean(dim=-1, keepdim=True)
        return super().separate(mixture) / deviation.abs().amax(dim=(1, 2), keepdim=True).unsqueeze(1)


class LosesASample(Gains):
    def separate(self, mixture):
        return super().separate(mixture)[..., 1:]


class Doubles(Gains):
    def separate(self, mixture):
        return super().separate(mixture).double()


class NamesAStemTwice(Gains):
    @property
    def stems(self):
        return ("vocals", "vocals", "bass", "other")

    @stems.setter
    def stems(self, value):
        pass


def test_a_lawful_separator_passes():
    check_separator(Quiet(), samples=2000)


@pytest.mark.parametrize(
    "broken",
    [
        ChangesItsInput,
        DrawsNoise,
        HumsInSilence,
        MixesTheBatch,
        DividesByTheMean,
        LosesASample,
        Doubles,
        NamesAStemTwice,
    ],
)
def test_each_fault_is_found(broken):
    with pytest.raises(AssertionError):
        check_separator(broken(), samples=2000)
