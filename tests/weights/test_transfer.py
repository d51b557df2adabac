"""Files from a server that breaks, lies or hangs: whole and right under their names, or not there at all."""

import hashlib
import random
import socket

import pytest

from mss_cli.errors import DownloadError, OutputError, WeightsError
from mss_cli.weights.published import PublishedFile
from mss_cli.weights.transfer import Patience, fetch
from weights_server import Fault, serving

DATA = random.Random(0).randbytes(700_000)
SHA256 = hashlib.sha256(DATA).hexdigest()
QUICK = Patience(timeout_seconds=0.3, tries=3, first_wait_seconds=0.01, longest_wait_seconds=0.02)


@pytest.fixture
def server():
    with serving({"w.pth": DATA}) as running:
        yield running


@pytest.fixture
def target(tmp_path):
    return tmp_path / "cache" / "w.pth"


def get(target, *addresses, file=None, patience=QUICK):
    notes, seen = [], []
    file = file or PublishedFile("w.pth", (), size_bytes=len(DATA), sha256=SHA256)
    receipt = fetch(file, target, addresses, progress=seen.append, note=notes.append, patience=patience)
    return receipt, notes, seen


def assert_nothing(target):
    assert not target.exists()


def assert_whole(target):
    assert target.read_bytes() == DATA
    assert [path.name for path in target.parent.iterdir()] == ["w.pth"]


def test_a_file_comes_whole_and_nothing_else_stays(server, target):
    receipt, notes, seen = get(target, f"{server.url}/w.pth")
    assert_whole(target)
    assert (receipt.sha256, receipt.size_bytes, notes) == (SHA256, len(DATA), [])
    assert seen[-1] == len(DATA)
    assert seen == sorted(seen)


@pytest.mark.parametrize("seed", range(5))
def test_lines_cut_at_random_bytes_are_taken_up_where_they_broke(server, target, seed):
    chance = random.Random(seed)
    cuts = [chance.randrange(1, 300_000) for _ in range(4)]
    server.fault("w.pth", *(Fault(cut=cut) for cut in cuts))
    _, notes, _ = get(target, f"{server.url}/w.pth")
    assert_whole(target)
    begun = [0 if asked is None else int(asked.removeprefix("bytes=")[:-1]) for _, asked in server.requests]
    assert begun == sorted(begun)
    assert any(begun), "the second request asks for the rest only"
    assert all("the line broke" in note for note in notes)


def test_a_line_that_breaks_more_often_than_the_patience_still_gets_there(server, target):
    server.fault("w.pth", *(Fault(cut=30_000) for _ in range(12)))
    get(target, f"{server.url}/w.pth")
    assert_whole(target)


def test_a_part_of_an_earlier_run_is_used(server, target):
    target.parent.mkdir()
    (target.parent / ".w.pth.part").write_bytes(DATA[:400_000])
    get(target, f"{server.url}/w.pth")
    assert_whole(target)
    assert server.requests == [("/w.pth", "bytes=400000-")]


def test_a_damaged_part_of_an_earlier_run_is_dropped(server, target):
    target.parent.mkdir()
    (target.parent / ".w.pth.part").write_bytes(b"\0" * 400_000)
    get(target, f"{server.url}/w.pth")
    assert_whole(target)
    assert [asked for _, asked in server.requests] == ["bytes=400000-", None]


def test_a_whole_part_needs_no_server(target):
    target.parent.mkdir()
    (target.parent / ".w.pth.part").write_bytes(DATA)
    get(target, "http://127.0.0.1:9/w.pth")
    assert_whole(target)


def test_a_server_without_ranges_sends_all_again(server, target):
    server.fault("w.pth", Fault(cut=300_000, ranges=False), Fault(ranges=False))
    get(target, f"{server.url}/w.pth")
    assert_whole(target)


def test_another_file_of_the_same_size_is_refused(server, target):
    server.fault("w.pth", Fault(content=DATA[::-1], times=None))
    with pytest.raises(WeightsError, match=f"SHA-256 differs: expected {SHA256}, got ") as caught:
        get(target, f"{server.url}/w.pth")
    assert caught.value.code == 5
    assert_nothing(target)
    assert len(server.requests) == 1, "what is wrong stays wrong"


def test_a_file_of_another_size_is_refused_before_it_comes(server, target):
    server.fault("w.pth", Fault(content=DATA[:1000], times=None))
    with pytest.raises(WeightsError, match="1000 bytes instead of 700000"):
        get(target, f"{server.url}/w.pth")
    assert_nothing(target)


def test_a_length_that_is_never_reached_is_tried_again_and_given_up(server, target):
    file = PublishedFile("w.pth", (), sha256_prefix=SHA256[:8])
    server.fault("w.pth", Fault(said_length=len(DATA) + 50, ranges=False, times=None))
    with pytest.raises(DownloadError, match="the line broke after 700000 of 700050 bytes"):
        get(target, f"{server.url}/w.pth", file=file)
    assert_nothing(target)


def test_an_endless_answer_is_cut(server, target):
    server.fault("w.pth", Fault(content=DATA * 2, no_length=True, times=None))
    with pytest.raises(WeightsError, match="more than 700000 bytes came"):
        get(target, f"{server.url}/w.pth")
    assert_nothing(target)
    assert not (target.parent / ".w.pth.part").exists()


def test_a_missing_file_is_taken_from_the_mirror(server, target):
    receipt, notes, _ = get(target, f"{server.url}/gone/absent.pth", f"{server.url}/mirror/w.pth")
    assert_whole(target)
    assert receipt.origin.endswith("/mirror/w.pth")
    assert any("404" in note for note in notes)


def test_a_wrong_file_is_taken_from_the_mirror(server, target):
    server.fault("w.pth", Fault(content=DATA[::-1]))
    get(target, f"{server.url}/a/w.pth", f"{server.url}/b/w.pth")
    assert_whole(target)
    assert [path for path, _ in server.requests] == ["/a/w.pth", "/b/w.pth"]


def test_a_file_that_is_nowhere_is_an_error_of_weights(server, target):
    with pytest.raises(WeightsError, match="404 not found.*404 not found") as caught:
        get(target, f"{server.url}/x.pth", f"{server.url}/y.pth")
    assert "--mirror URL" in str(caught.value)
    assert len(server.requests) == 2
    assert_nothing(target)


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_server_that_is_busy_for_a_while_is_asked_again(server, target, status):
    server.fault("w.pth", Fault(status=status, headers={"Retry-After": "0"}), Fault(status=status))
    get(target, f"{server.url}/w.pth")
    assert_whole(target)
    assert len(server.requests) == 3


def test_a_server_that_stays_busy_is_to_be_tried_later(server, target):
    server.fault("w.pth", Fault(status=503, times=None))
    with pytest.raises(DownloadError, match="503 service unavailable.*try again later") as caught:
        get(target, f"{server.url}/w.pth")
    assert caught.value.code == 75
    assert len(server.requests) == QUICK.tries
    assert_nothing(target)


def test_a_server_that_is_gone_is_to_be_tried_later(target):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(DownloadError, match="connection refused"):
        get(target, f"http://127.0.0.1:{port}/w.pth")
    assert_nothing(target)


def test_a_server_that_hangs_is_given_up(server, target):
    server.fault("w.pth", Fault(hang=True, times=None))
    with pytest.raises(DownloadError, match="no answer in time"):
        get(target, f"{server.url}/w.pth")
    assert_nothing(target)


def test_a_server_that_is_slow_but_goes_on_is_waited_for(server, target):
    server.fault("w.pth", Fault(slow_bytes=20_000))
    get(target, f"{server.url}/w.pth")
    assert_whole(target)


def test_redirects_are_followed(server, target):
    server.fault("w.pth", Fault(location="/elsewhere/w.pth"))
    get(target, f"{server.url}/w.pth")
    assert_whole(target)


def test_redirects_in_a_circle_are_left(server, target):
    server.fault("w.pth", Fault(location="/w.pth", times=None))
    with pytest.raises(WeightsError, match="302"):
        get(target, f"{server.url}/w.pth")
    assert_nothing(target)


def test_redirects_to_local_files_are_refused(server, target, tmp_path):
    (tmp_path / "secret").write_bytes(DATA)
    server.fault("w.pth", Fault(location=(tmp_path / "secret").as_uri(), times=None))
    with pytest.raises(WeightsError):
        get(target, f"{server.url}/w.pth")
    assert_nothing(target)


def test_addresses_of_local_files_are_refused(target, tmp_path):
    (tmp_path / "secret").write_bytes(DATA)
    with pytest.raises(WeightsError, match="unknown url type: file"):
        get(target, (tmp_path / "secret").as_uri())
    assert_nothing(target)


def test_a_web_page_is_no_file(server, target):
    server.fault("w.pth", Fault(kind="text/html; charset=utf-8", times=None))
    with pytest.raises(WeightsError, match="a web page instead of the file"):
        get(target, f"{server.url}/w.pth")
    assert_nothing(target)


def test_a_proxy_of_the_environment_is_asked(server, target, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.setenv("no_proxy", "")
    get(target, "http://weights.invalid/w.pth")
    assert_whole(target)
    assert server.requests == [("http://weights.invalid/w.pth", None)]


def test_a_file_without_a_published_hash_is_never_taken_up_again(server, target):
    target.parent.mkdir()
    (target.parent / ".w.pth.part").write_bytes(b"\0" * 100)
    receipt, _, _ = get(target, f"{server.url}/w.pth", file=PublishedFile("w.pth", ()))
    assert_whole(target)
    assert receipt.sha256 == SHA256


def test_a_file_without_hash_and_length_is_refused(server, target):
    server.fault("w.pth", Fault(no_length=True, times=None))
    with pytest.raises(WeightsError, match="no hash is published, and the server does not say how long"):
        get(target, f"{server.url}/w.pth", file=PublishedFile("w.pth", ()))
    assert_nothing(target)


def test_a_prefix_of_the_hash_is_held_against_the_file(server, target):
    with pytest.raises(WeightsError, match="expected 00000000..., got"):
        get(target, f"{server.url}/w.pth", file=PublishedFile("w.pth", (), sha256_prefix="00000000"))
    assert_nothing(target)


def test_a_place_that_cannot_be_written_is_an_error_of_output(server, tmp_path):
    (tmp_path / "cache").write_text("a file stands here")
    with pytest.raises(OutputError, match="a file stands where a folder is needed.*--dir"):
        get(tmp_path / "cache" / "w.pth", f"{server.url}/w.pth")
