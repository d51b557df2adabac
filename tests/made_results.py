"""Results of runs that never happened, with numbers chosen by a test."""

from mss_cli.evaluation.results import SCORE_KIND, DatasetInfo, Results, SystemInfo
from mss_cli.evaluation.scores import FOUR_STEMS, Frames, StemScores, TrackScores


def made_results(medians, *, name="mine", metric="SDR", dataset="folders", subset="test", published=None, tracks=None):
    """Give results whose track medians are `medians`: stem -> one number per track."""
    count = max(len(values) for values in medians.values())
    names = tracks or [f"track {i}" for i in range(count)]
    made = []
    for i in range(count):
        stems = tuple(
            StemScores(stem, FOUR_STEMS, (Frames(metric, (values[i] - 1, values[i], values[i] + 5)),), values[i], 0.0)
            for stem, values in medians.items()
        )
        made.append(TrackScores(names[i], subset, 3 * 44100, 44100, stems))
    data = DatasetInfo(dataset, subset, published)
    return Results(SystemInfo("model", name, {}), data, "auto", SCORE_KIND, "decoder 1", tuple(made))
