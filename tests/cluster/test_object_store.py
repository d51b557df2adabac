"""`s3://` addresses against a server that speaks the protocol over HTTP."""

import json
import os
import re
import subprocess
import sys
import urllib.request

import pytest

from batch_runs import STEMS, BatchRun, write_broken
from signals import write_music

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


@pytest.fixture
def s3(tmp_path, monkeypatch):
    """An empty bucket `music` of moto's server, as a client knows it; environment for commands is set."""
    pytest.importorskip("moto.server")
    s3fs = pytest.importorskip("s3fs")
    log = tmp_path / "server.log"
    with log.open("w") as file:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
        server = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
    try:
        for _ in range(600):
            found = re.search(r"http://127\.0\.0\.1:\d+", log.read_text())
            if found is not None:
                break
            server.poll()
            __import__("time").sleep(0.1)
        endpoint = found[0]
        for name, value in {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "nobody",
            "AWS_SECRET_ACCESS_KEY": "nothing",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("AWS_PROFILE", raising=False)
        files = s3fs.S3FileSystem(endpoint_url=endpoint, key="nobody", secret="nothing", use_listings_cache=False)
        files.mkdir("music")
        yield files
        urllib.request.urlopen(urllib.request.Request(f"{endpoint}/moto-api/reset", method="POST")).close()
    finally:
        server.terminate()
        server.wait()


def stems(*tracks):
    return sorted(f"{name}/{file}" for name in tracks for file in (*(f"{s}.wav" for s in STEMS), f"{name}.mss.json"))


def below(s3, root):
    return sorted(name.removeprefix(f"{root}/") for name in s3.find(root))


def test_a_bucket_to_a_bucket_with_workers_a_kill_and_a_second_run(s3, tmp_path):
    for number in range(4):
        song = write_music(tmp_path / "made.wav", seconds=4.0, seed=number)
        s3.put_file(str(song), f"music/in/{number}.wav")
    write_broken(tmp_path / "broken.wav")
    s3.put_file(str(tmp_path / "broken.wav"), "music/in/broken.wav")
    scratch = tmp_path / "scratch"

    def start():
        return BatchRun("s3://music/in", "-o", "s3://music/out", "--jobs", "2", "--scratch", scratch)

    with start() as run:
        done = run.until("track_finished")
        run.process.kill()
        run.end()
    assert done["path"].startswith("s3://music/in/")
    with start() as again:
        assert again.end() == 1
    (failed,) = again.of_kind("track_failed")
    assert failed["path"] == "s3://music/in/broken.wav"
    assert done["path"] in [event["path"] for event in again.of_kind("track_skipped")]
    assert below(s3, "music/out") == stems("0", "1", "2", "3")
    assert json.loads(s3.cat("music/out/0/0.mss.json"))["input"]["path"] == "s3://music/in/0.wav"
    with start() as third:
        assert third.end() == 1  # the broken one is tried again
    assert len(third.of_kind("track_skipped")) == 4
    assert os.listdir(scratch) == []  # noqa: PTH208
    verified = subprocess.run(
        [sys.executable, "-m", "mss_cli", "verify", "s3://music/out"], capture_output=True, text=True
    )
    assert (verified.returncode, verified.stdout) == (0, "16 files of 4 tracks hashed: 0 tracks are not as recorded\n")
