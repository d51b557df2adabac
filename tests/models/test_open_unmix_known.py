"""Open-Unmix of published size: known answers of the package openunmix 1.3.0 on weights made by a formula."""

import dataclasses
import importlib.util
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from mss_models.networks.open_unmix.configurations import OPEN_UNMIX, read_open_unmix
from mss_models.networks.open_unmix.network import OpenUnmix
from mss_models.networks.open_unmix.separator import OpenUnmixSeparator
from parity_rows import ParityRow

FORMULA = Path(__file__).parents[2].parent / "shared" / "checkpoints" / "formula-weights"
pytestmark = pytest.mark.skipif(not FORMULA.exists(), reason="no shared/checkpoints/formula-weights")


def formula():
    spec = importlib.util.spec_from_file_location("formula", FORMULA / "formula.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def row(network, configuration, actual, expected):
    parameters = sum(one.numel() for one in network.parameters())
    difference = float(np.abs(actual - expected).max() / np.abs(expected).max())
    return ParityRow("Open-Unmix", configuration, "openunmix 1.3.0, known answer", parameters, difference)


@pytest.mark.parametrize("name", ["umxhq", pytest.param("umxl", marks=pytest.mark.slow)])
def test_the_network_of_one_stem_gives_the_package_s_answer(name, record_property):
    tools, network = formula(), OpenUnmix(read_open_unmix(OPEN_UNMIX[name]).network).eval()
    rows = (FORMULA / f"openunmix_{name}.keys.txt").read_text().splitlines()
    assert {line.split("\t")[0] for line in rows} == set(network.state_dict())
    tools.fill(network)
    spectrum = torch.from_numpy((tools.uniform("spec", 2 * 2049 * 12).reshape(1, 2, 2049, 12).astype(np.float32)) * 5)
    magnitudes = spectrum.transpose(2, 3)  # (1, channel, frame, bin)
    with torch.no_grad():
        actual = (network(magnitudes) * magnitudes).transpose(2, 3).numpy()
    expected = np.load(FORMULA / "openunmix_net.npz")[f"out_{name}"]
    found = row(network, f"{name}: network of one stem, published size", actual, expected)
    found.record(record_property)
    assert found.difference < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("iterations", [0, 1])
def test_four_stems_with_and_without_the_filter_give_the_package_s_answer(iterations, record_property):
    tools = formula()
    settings = dataclasses.replace(read_open_unmix(OPEN_UNMIX["umxhq"]), wiener_iterations=iterations)
    separator = OpenUnmixSeparator(settings).eval()
    for stem, network in zip(settings.network_stems, separator.members, strict=True):
        tools.fill(network, f"{stem}.")
    separator.prepare(torch.device("cpu"), "fp32")
    mixture, _ = soundfile.read(FORMULA / "input_3s.flac", dtype="float32", frames=44_100)
    actual = separator.separate(torch.from_numpy(mixture.T.copy())[None])[0].numpy()
    with np.load(FORMULA / f"openunmix_separator_niter{iterations}.npz") as answers:
        expected = answers[answers.files[0]]
    found = row(separator, f"umxhq: four stems, {iterations} iterations of the filter", actual, expected)
    found.record(record_property)
    assert found.difference < 1e-5
