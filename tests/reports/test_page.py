import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from mss_cli.errors import OutputError, UsageError
from mss_cli.reports.excerpts import Excerpt
from mss_cli.reports.page import clock, write_report
from mss_cli.reports.results import read_results
from report_data import by_sdr, document, seeded, stem_scores, write, write_tone

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> & \u202e \ud800"


@pytest.fixture
def report(tmp_path):
    """Write the page of some documents; give its text."""

    def writer(*documents, excerpts=(), name="report"):
        paths = [write(tmp_path / f"{index}.json", results) for index, results in enumerate(documents)]
        return write_report(tmp_path / name, [read_results(path) for path in paths], excerpts).read_text("utf-8")

    return writer


@pytest.fixture
def excerpt(tmp_path):
    versions = {name: write_tone(tmp_path / f"{hz}.wav", hz) for name, hz in (("mixture", 220), ("reference", 440))}
    return Excerpt("Artist 1 - Song No. 1", "vocals", 0.5, 2.0, versions)


class Elements(HTMLParser):
    """Every element with its attributes, and the text outside of scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.found, self.texts, self._skip = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        self._skip = tag in ("script", "style")

    def handle_endtag(self, tag):
        self._skip = False

    def handle_data(self, data):
        if not self._skip and data.strip():
            self.texts.append(data.strip())

    def all(self, name):
        return [attributes for tag, attributes in self.found if tag == name]


def test_nothing_on_the_page_points_outside(report, excerpt):
    page = Elements(report(seeded("a"), seeded("b", seed=1), excerpts=[excerpt]))
    addresses = [
        value for _, given in page.found for key, value in given.items() if key in ("src", "href", "srcset", "action")
    ]
    assert len(addresses) >= 10
    assert {address.split(":")[0] if not address.startswith("#") else "#" for address in addresses} == {"#", "data"}
    assert not page.all("link")
    assert not page.all("iframe")


def test_styles_and_scripts_name_no_address(report):
    text = report(seeded("a"))
    assert "//" not in re.sub(r"(?m)^\s*//.*$| // .*$", "", text)
    for word in ("http:", "https:", "url(", "@import", "fetch(", "XMLHttpRequest", "innerHTML"):
        assert word not in text


def test_the_page_itself_forbids_the_network_and_all_scripts_but_its_own(report):
    text = report(seeded("a"))
    policy = next(meta["content"] for meta in Elements(text).all("meta") if "http-equiv" in meta)
    assert policy.startswith("default-src 'none'")
    [script] = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy


def test_hostile_names_stay_text(report, tmp_path):
    tracks = {HOSTILE: {HOSTILE: stem_scores({"SDR": 1.0})}, "other": {HOSTILE: stem_scores({"SDR": 2.0})}}
    first = document(HOSTILE, tracks, settings={HOSTILE: HOSTILE})
    excerpt = Excerpt(HOSTILE, HOSTILE, 0, 1, {HOSTILE: write_tone(tmp_path / "a.wav", 440)})
    text = report(first, document("b", tracks, scenario=HOSTILE, decoder=HOSTILE), excerpts=[excerpt])
    page = Elements(text)
    assert len(page.all("script")) == 1
    assert {image["src"][:22] for image in page.all("img")} == {"data:image/png;base64,"}
    assert not any(key.startswith("on") for _, given in page.found for key in given)
    shown = HOSTILE.replace("\ud800", "?")
    assert shown in page.texts
    assert any(given.get("aria-label") == f"Signal of {shown}" for _, given in page.found)


def test_the_same_input_gives_the_same_bytes(report, excerpt):
    results = (seeded("a"), seeded("b", seed=1))
    assert report(*results, excerpts=[excerpt], name="one") == report(*results, excerpts=[excerpt], name="two")


def test_every_score_stands_in_the_heat_map_and_in_the_table(report):
    texts = Elements(report(seeded("a", tracks=3))).texts
    for track in seeded("a", tracks=3)["tracks"]:
        for stem in track["stems"].values():
            for value in stem["median"].values():
                assert f"{value:.2f}".replace("-", "−") in texts


def test_quartiles_are_written_beside_their_box(report):
    texts = Elements(report(by_sdr("a", [0, 2, 4, 6, 10]))).texts
    assert "a: median 4.00 dB, quartiles 2.00 and 6.00, whiskers 0.00 and 10.00, 5 tracks" in texts


def test_a_score_that_is_null_is_a_dash(report):
    texts = Elements(report(by_sdr("a", [1.5, None]))).texts
    assert "–" in texts
    assert not any(word in texts for word in ("None", "nan", "NaN"))


def test_frames_without_a_number_are_counted_beside_every_score(report):
    results = document("a", {"t": {"vocals": stem_scores({"SDR": 3.0}, frames=40, nan_frames=7)}})
    texts = Elements(report(results)).texts
    assert "7 of 40" in texts
    assert "7 of 40 frames NaN" in texts


def test_a_stem_that_was_not_scored_says_why(report):
    stem = stem_scores({"SDR": None}, frames=0) | {"reason": "silent reference"}
    texts = Elements(report(document("a", {"t": {"vocals": stem}}))).texts
    assert "silent reference" in texts


def test_what_was_scored_is_named(report):
    text = " ".join(Elements(report(seeded("a", tracks=8))).texts)
    for words in ("8 of the 50", "musdb18, test", "four-stems", "median of frames, median of tracks", "libav"):
        assert words in text
    assert "Fewer tracks than the published scores are over" in text


def test_as_many_tracks_as_published_need_no_warning(report):
    assert "Fewer tracks" not in report(seeded("a", tracks=8, published=8))
    assert "Fewer tracks" not in report(seeded("a", tracks=8, published=None))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"score_kind": "BSSEval v3"}, "The kind of score differs"),
        ({"decoder": "ffmpeg"}, "The decoder differs"),
        ({"subset": "train"}, "The data set differs"),
    ],
)
def test_systems_that_cannot_be_compared_are_named(report, change, words):
    assert words in report(seeded("a"), seeded("b", **change))
    assert words not in report(seeded("a"), seeded("b"))


def test_every_table_names_the_scenario_of_its_stems(report):
    tracks = {
        f"t{number}": {
            "vocals": stem_scores({"SDR": number}, scenario="vocals-accompaniment"),
            "drums": stem_scores({"SDR": number + 1}),
        }
        for number in range(1, 8)
    }
    text = report(document("a", tracks), document("b", tracks))
    assert "vocals-accompaniment: vocals; four-stems: drums" in Elements(text).texts
    for start, end in (("summary", "boxes"), ("boxes", "tracks"), ("tracks", "differences"), ("scores", "</table>")):
        part = text[text.index(f'id="{start}"') :]
        part = part[: part.index(end if end.startswith("<") else f'id="{end}"')]
        assert "vocals-accompaniment" in part
        assert "four-stems" in part


def test_systems_scored_in_other_scenarios_are_named(report):
    pair = document("b", {"t": {"vocals": stem_scores({"SDR": 1.0}, scenario="vocals-accompaniment")}})
    four = document("a", {"t": {"vocals": stem_scores({"SDR": 1.0})}})
    assert "The scenario differs" in report(four, pair)


def test_a_difference_names_its_direction(report):
    texts = Elements(report(seeded("a"), seeded("b", seed=1, gain=3))).texts
    assert texts.count("better") == 4
    assert texts.count("worse") == 4


def test_one_system_and_no_excerpt_make_a_page(report):
    text = report(by_sdr("a", [1.0]))
    assert "nothing to compare it with" in text
    assert "No excerpt was chosen" in text


def test_no_track_makes_a_page(report):
    assert "No track has a score" in report(document("a", {}))


def test_no_common_track_makes_a_page(report):
    other = document("b", {"else": {"vocals": stem_scores({"SDR": 1.0})}})
    assert "share no track with a score" in report(by_sdr("a", [1.0]), other)


def test_every_version_has_a_button_a_sound_and_two_pictures(report, excerpt):
    page = Elements(report(seeded("a"), excerpts=[excerpt]))
    assert [audio["aria-label"] for audio in page.all("audio")] == ["mixture", "reference"]
    assert all(audio["src"].startswith("data:audio/mpeg;base64,") for audio in page.all("audio"))
    assert len(page.all("canvas")) == len(page.all("img")) == 2
    pressed = [given["aria-pressed"] for given in page.all("button") if given.get("class", "").startswith("version")]
    assert pressed == ["true", "false"]


def test_two_systems_of_one_name_are_refused(report, tmp_path):
    with pytest.raises(UsageError, match="two systems are named `a`"):
        report(seeded("a"), seeded("a"))
    assert not (tmp_path / "report").exists()


def test_a_report_of_nothing_is_refused(tmp_path):
    with pytest.raises(UsageError, match="at least one system"):
        write_report(tmp_path, [], [])


def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path):
    (tmp_path / "file").write_text("x")
    system = read_results(write(tmp_path / "r.json", by_sdr("a", [1.0])))
    with pytest.raises(OutputError, match="a file stands where a folder is needed"):
        write_report(tmp_path / "file" / "report", [system], [])


def test_a_page_that_cannot_take_its_name_leaves_nothing_behind(tmp_path):
    (tmp_path / "report" / "index.html").mkdir(parents=True)
    system = read_results(write(tmp_path / "r.json", by_sdr("a", [1.0])))
    with pytest.raises(OutputError, match=r"index\.html"):
        write_report(tmp_path / "report", [system], [])
    assert [path.name for path in (tmp_path / "report").iterdir()] == ["index.html"]


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (9.96, "0:10"), (61.5, "1:01.5"), (600, "10:00")])
def test_times_are_minutes_and_seconds(seconds, text):
    assert clock(seconds) == text
