"""Other people's scorers and stored scores, for comparison; tests skip by name where they are absent."""

import importlib.util
import json
import sys
import types
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

SHARED = Path(__file__).parents[1].parent / "shared"
METRICS = ("SDR", "ISR", "SIR", "SAR")


def museval():
    """museval, imported without the ffmpeg program that one of its dependencies looks for."""
    if importlib.util.find_spec("museval") is None:
        pytest.skip("museval is not installed")
    sys.modules.setdefault("stempeg", types.ModuleType("stempeg"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import museval as module
    return module


def museval_scores(reference, estimate, *, window, hop=None):
    """What museval gives for tensors (stem, channel, sample): SDR, ISR, SIR, SAR as (4, stem, frame)."""
    references, estimates = (np.ascontiguousarray(x.double().numpy().transpose(0, 2, 1)) for x in (reference, estimate))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.stack(museval().evaluate(references, estimates, win=window, hop=hop or window))


def mir_eval(name):
    """One module of mir_eval, its deprecation notes unheard."""
    if importlib.util.find_spec("mir_eval") is None:
        pytest.skip("mir_eval is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(f"mir_eval.{name}")


def stored_cases():
    """The maker of the museval cases and their stored scores by name; both empty where they are absent."""
    maker = SHARED / "reference" / "museval-cases" / "make_cases.py"
    if not maker.exists():
        return None, {}
    spec = importlib.util.spec_from_file_location("museval_cases", maker)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    rows = json.loads(maker.with_name("golden.json").read_text())["cases"]
    return module, {row["name"]: row for row in rows}


def by_channel(samples):
    """Turn museval's (stem, sample, channel) into our (stem, channel, sample)."""
    return torch.from_numpy(np.ascontiguousarray(np.asarray(samples, dtype=np.float64).transpose(0, 2, 1)))


def stacked(scores):
    """Our scores as museval's array (4, stem, frame)."""
    return np.stack([scores.sdr.numpy(), scores.isr.numpy(), scores.sir.numpy(), scores.sar.numpy()])


def table(values):
    """A stored table of numbers, null for NaN, as an array."""
    return np.array([[np.nan if v is None else float(v) for v in row] for row in values], dtype=float)
