import json
import os
import stat
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mss_cli.main import main
from signals import music, write_music

STEMS = ("vocals", "drums", "bass", "other")


@pytest.fixture
def song(tmp_path):
    return write_music(tmp_path / "song.wav")


def read(path):
    return soundfile.read(path, dtype="float64", always_2d=True)


def events(text):
    return [json.loads(line) for line in text.splitlines()]


def test_a_song_becomes_four_stems_of_its_length_and_rate(song, tmp_path):
    assert main(["separate", str(song), "-o", str(tmp_path / "out")]) == 0
    for stem in STEMS:
        samples, rate = read(tmp_path / "out" / "song" / f"{stem}.wav")
        assert (samples.shape, rate) == ((88200, 2), 44100)
    assert sorted(path.name for path in (tmp_path / "out" / "song").iterdir()) == sorted(
        [*(f"{s}.wav" for s in STEMS), "song.mss.json"]
    )


def test_float_stems_sum_to_the_mixture(song, tmp_path):
    assert main(["separate", str(song), "-o", str(tmp_path / "out"), "--float32"]) == 0
    mixture, _ = read(song)
    total = sum(read(tmp_path / "out" / "song" / f"{stem}.wav")[0] for stem in STEMS)
    residual_db = 10 * np.log10(np.square(total - mixture).sum() / np.square(mixture).sum())
    assert residual_db < -80


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (22050, 2), (48000, 1), (96000, 2), (192000, 2)])
def test_rate_and_channels_of_the_input_are_restored_and_the_sum_holds(tmp_path, rate, channels):
    song = write_music(tmp_path / "song.flac", rate=rate, channels=channels, seconds=0.7)
    assert main(["separate", str(song), "-o", str(tmp_path / "out"), "--float32"]) == 0
    mixture, _ = read(song)
    total = np.zeros_like(mixture)
    for stem in STEMS:
        samples, stem_rate = read(tmp_path / "out" / "song" / f"{stem}.wav")
        assert (samples.shape, stem_rate) == (mixture.shape, rate)
        total += samples
    assert np.square(total - mixture).sum() < 1e-8 * np.square(mixture).sum()


@pytest.mark.parametrize("samples", [1, 441])
def test_the_shortest_inputs_are_separated_like_any_other(tmp_path, samples):
    soundfile.write(tmp_path / "short.wav", music()[:samples], 44100, subtype="FLOAT")
    assert main(["separate", str(tmp_path / "short.wav"), "-o", str(tmp_path / "out")]) == 0
    assert len(read(tmp_path / "out" / "short" / "bass.wav")[0]) == samples


@pytest.mark.parametrize("level", [0.0, 0.5], ids=["silence", "direct current"])
def test_a_constant_input_stays_finite_and_silence_stays_silent(tmp_path, level):
    soundfile.write(tmp_path / "flat.wav", np.full((20000, 2), level, np.float32), 44100, subtype="FLOAT")
    assert main(["separate", str(tmp_path / "flat.wav"), "-o", str(tmp_path / "out"), "--float32"]) == 0
    for stem in STEMS:
        samples, _ = read(tmp_path / "out" / "flat" / f"{stem}.wav")
        assert np.isfinite(samples).all()
        assert level or not samples.any()


def test_two_runs_give_the_same_bytes(song, tmp_path):
    for name in ("one", "two"):
        assert main(["separate", str(song), "-o", str(tmp_path / name)]) == 0
    for stem in STEMS:
        first, second = (tmp_path / name / "song" / f"{stem}.wav" for name in ("one", "two"))
        assert first.read_bytes() == second.read_bytes()


def test_shifts_change_the_stems_and_follow_the_seed(song, tmp_path):
    for name, seed in (("one", "1"), ("again", "1"), ("two", "2")):
        flags = ["--shifts", "1", "--seed", seed, "--segment-seconds", "0.6"]
        assert main(["separate", str(song), "-o", str(tmp_path / name), *flags]) == 0
    data = [(tmp_path / name / "song" / "drums.wav").read_bytes() for name in ("one", "again", "two")]
    assert data[0] == data[1] != data[2]


def test_one_gain_for_all_stems_keeps_integer_stems_summing(tmp_path):
    song = write_music(tmp_path / "loud.wav", level=3.0, subtype="FLOAT")
    flags = ["--two-stems", "vocals", "--json"]
    assert main(["separate", str(song), "-o", str(tmp_path / "out"), *flags]) == 0
    mixture, _ = read(song)
    parts = [read(tmp_path / "out" / "loud" / f"{stem}.wav")[0] for stem in ("vocals", "no_vocals")]
    total = sum(parts)
    gain = (total * mixture).sum() / np.square(mixture).sum()
    assert gain < 0.9
    assert max(np.abs(part).max() for part in parts) == pytest.approx(1.0, abs=1e-4)
    np.testing.assert_allclose(total, gain * mixture, atol=2e-4)


def test_the_gain_is_in_the_events(tmp_path, capsys):
    song = write_music(tmp_path / "loud.wav", level=3.0, subtype="FLOAT")
    assert main(["separate", str(song), "-o", str(tmp_path / "out"), "--json"]) == 0
    finished = next(event for event in events(capsys.readouterr().out) if event["event"] == "track_finished")
    assert 0 < finished["gain"] < 1
    assert max(output["peak"] for output in finished["outputs"]) == pytest.approx(1.0, abs=1e-5)


def test_clamp_limits_and_float_is_never_touched(tmp_path):
    song = write_music(tmp_path / "loud.wav", level=3.0, subtype="FLOAT")
    for name, flags in (("clamp", ["--clip", "clamp"]), ("float", ["--float32", "--clip", "clamp"])):
        assert main(["separate", str(song), "-o", str(tmp_path / name), "--two-stems", "vocals", *flags]) == 0
    clamped, untouched = (read(tmp_path / name / "loud" / "no_vocals.wav")[0] for name in ("clamp", "float"))
    assert np.abs(untouched).max() > 1.05
    np.testing.assert_allclose(clamped, np.clip(untouched, -1, 1), atol=4e-5)


def test_residual_and_chosen_stems_sum_to_the_mixture(song, tmp_path):
    flags = ["--stems", "vocals, drums", "--residual", "--float32"]
    assert main(["separate", str(song), "-o", str(tmp_path / "out"), *flags]) == 0
    names = sorted(path.stem for path in (tmp_path / "out" / "song").glob("*.wav"))
    assert names == ["drums", "residual", "vocals"]
    total = sum(read(tmp_path / "out" / "song" / f"{name}.wav")[0] for name in names)
    np.testing.assert_allclose(total, read(song)[0], atol=1e-6)


@pytest.mark.parametrize("form", ["flac", "mp3", "ogg", "opus", "m4a"])
def test_every_format_is_written_whole_and_aligned(song, tmp_path, form):
    from mss_cli.audio.decode import decode
    from mss_cli.audio.probe import probe

    assert main(["separate", str(song), "-o", str(tmp_path / "out"), "--format", form, "--two-stems", "bass"]) == 0
    mixture = read(song)[0].T
    parts = []
    for stem in ("bass", "no_bass"):
        info = probe(tmp_path / "out" / "song" / f"{stem}.{form}")
        parts.append(np.concatenate(list(decode(info)), axis=-1))
        assert parts[-1].shape[-1] == round(88200 * info.sample_rate / 44100)
    if form != "opus":  # which is at another rate
        correlation = (sum(parts) * mixture).sum() / np.square(mixture).sum()
        assert correlation == pytest.approx(1.0, abs=0.03)


def test_a_rate_that_a_format_cannot_hold_is_said_once(song, tmp_path, capsys):
    assert main(["separate", str(song), "-o", str(tmp_path / "out"), "--format", "opus", "--json"]) == 0
    captured = events(capsys.readouterr().out)
    lines = [event["message"] for event in captured if event["event"] == "warning" and "Hz" in event["message"]]
    assert lines == ["opus cannot hold 44100 Hz: written at 48000 Hz"]
    finished = next(event for event in captured if event["event"] == "track_finished")
    assert {output["sample_rate_hz"] for output in finished["outputs"]} == {48000}


def test_a_stem_file_holds_the_mixture_and_four_stems(song, tmp_path):
    import av

    assert main(["separate", str(song), "-o", str(tmp_path / "out"), "--format", "stem.mp4"]) == 0
    with av.open(str(tmp_path / "out" / "song.stem.mp4")) as container:
        assert len(container.streams.audio) == 5
    assert main(["separate", str(tmp_path / "out" / "song.stem.mp4"), "-o", str(tmp_path / "again")]) == 0
    assert (tmp_path / "again" / "song" / "vocals.wav").is_file()


def test_tags_are_carried_over(tmp_path):
    import soundfile as sf

    from mss_cli.audio.probe import probe

    with sf.SoundFile(tmp_path / "tagged.flac", "w", 44100, 2) as file:
        file.title, file.artist = "Take five", "Nobody"
        file.write(music(0.5))
    assert main(["separate", str(tmp_path / "tagged.flac"), "-o", str(tmp_path / "out"), "--mp3"]) == 0
    tags = probe(tmp_path / "out" / "tagged" / "vocals.mp3").tags
    assert (tags.title, tags.artist) == ("Take five (vocals)", "Nobody")


def test_a_picture_shows_every_stem(song, tmp_path):
    assert main(["separate", str(song), "-o", str(tmp_path / "out"), "--plot"]) == 0
    data = (tmp_path / "out" / "song" / "spectrogram.png").read_bytes()
    assert data.startswith(b"\x89PNG")
    assert len(data) > 20_000


def test_a_broken_file_does_not_stop_the_others(song, tmp_path, capsys):
    broken = tmp_path / "broken.wav"
    broken.write_text("this is no audio at all\n" * 50)
    last = write_music(tmp_path / "last.wav", seconds=0.3)
    code = main(["separate", str(song), str(broken), str(last), "-o", str(tmp_path / "out"), "--json"])
    assert code == 1
    kinds = [event["event"] for event in events(capsys.readouterr().out)]
    assert kinds.count("track_finished") == 2
    assert kinds.count("track_failed") == 1
    assert kinds[-1] == "run_finished"
    assert not (tmp_path / "out" / "broken").exists()


def test_events_have_time_and_end_with_the_exit_code(song, tmp_path, capsys):
    assert main(["separate", str(song), "-o", str(tmp_path / "out"), "--json"]) == 0
    seen = events(capsys.readouterr().out)
    assert seen[0]["event"] == "run_started"
    assert seen[0]["schema"] == 1
    assert all(event["time"].endswith("Z") for event in seen)
    assert seen[-1] | {"time": "", "elapsed_seconds": 0} == {
        "event": "run_finished", "time": "", "exit_code": 0, "done": 1, "failed": 0, "skipped": 0,
        "elapsed_seconds": 0, "message": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("flags", "code", "line"),
    [
        (["--model", "clasical"], 2, "no model is called `clasical`; did you mean `classical`?"),
        (["--model", "no/such.safetensors"], 5, "no/such.safetensors: no checkpoint file there"),
        (["--stems", "piano"], 2, "this model has no stem `piano`"),
        (["--format", "aiff"], 2, "no output format `aiff`"),
        (["--mp3", "--flac"], 2, "`--format` is given as mp3 and flac"),
        (["--bitrate", "fast"], 2, "`--bitrate fast` is no number of kbit/s"),
        (["--clip", "soft"], 2, "`--clip soft` is not known; use one of rescale, clamp, none"),
        (["--precision", "fp8"], 2, "`--precision fp8` is not known"),
        (["--precision", "bf16", "--model", "classical"], 2, "this model does not compute in bf16"),
        (["--device", "tpu"], 2, "no device is called `tpu`"),
        (["--filename", "../{stem}.{ext}"], 2, "leaves the output folder"),
        (["--overlap", "1.5"], 2, "--overlap"),
        (["--output", "-"], 2, "`--output -` writes one stem, not 4"),
        (["--output", "-", "--stems", "vocals", "--json"], 2, "both want stdout"),
    ],
)
def test_wrong_words_are_one_line_with_a_way_out(song, tmp_path, capsys, flags, code, line):
    assert main(["separate", str(song), "-o", str(tmp_path / "out"), *flags]) == code
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert line in last
    assert not (tmp_path / "out").exists()


def test_a_device_that_is_missing_names_the_way_out(song, tmp_path, capsys):
    assert main(["separate", str(song), "-o", str(tmp_path / "out"), "--device", "cuda:7"]) == 4
    assert "device `cuda:7` is not there" in capsys.readouterr().err


def test_too_many_channels_name_the_flag_and_the_flag_works(tmp_path, capsys):
    soundfile.write(tmp_path / "six.wav", np.tile(music(0.3, channels=1), 6), 44100)
    assert main(["separate", str(tmp_path / "six.wav"), "-o", str(tmp_path / "out")]) == 3
    assert "6 channels; fold them with `--downmix stereo`" in capsys.readouterr().err
    assert main(["separate", str(tmp_path / "six.wav"), "-o", str(tmp_path / "out"), "--downmix", "stereo"]) == 0
    assert read(tmp_path / "out" / "six" / "bass.wav")[0].shape[1] == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_refused(song, tmp_path, capsys):
    locked = tmp_path / "locked"
    locked.mkdir()
    locked.chmod(stat.S_IRUSR | stat.S_IXUSR)
    assert main(["separate", str(song), "-o", str(locked / "out")]) == 6
    assert "permission denied" in capsys.readouterr().err


def test_a_file_in_the_place_of_the_output_folder_is_refused(song, tmp_path, capsys):
    (tmp_path / "out").write_text("here first")
    assert main(["separate", str(song), "-o", str(tmp_path / "out")]) == 6
    assert "a file stands where a folder is needed" in capsys.readouterr().err
    assert (tmp_path / "out").read_text() == "here first"


def test_two_inputs_with_one_name_are_refused_before_anything_is_written(song, tmp_path, capsys):
    other = write_music(tmp_path / "song.flac", seconds=0.2)
    assert main(["separate", str(song), str(other), "-o", str(tmp_path / "out")]) == 6
    assert "two inputs with one output name" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_bad_samples_in_the_middle_leave_nothing_behind(tmp_path, capsys):
    samples = music(3.0)
    samples[100_000, 1] = np.nan
    soundfile.write(tmp_path / "nan.wav", samples, 44100, subtype="FLOAT")
    assert main(["separate", str(tmp_path / "nan.wav"), "-o", str(tmp_path / "out")]) == 3
    assert "nan.wav: NaN sample at 2.27 s" in capsys.readouterr().err
    left = [path.name for path in (tmp_path / "out").rglob("*")]
    assert left == [".mss-cli", "failed.json"]  # for `--retry-failed`


def test_names_that_look_like_markup_are_printed_as_they_are(tmp_path, capsys):
    name = "[live] ü [/b] 'q'.wav"
    assert main(["separate", str(write_music(tmp_path / name, seconds=0.2)), "-o", str(tmp_path / "out")]) == 0
    assert name in capsys.readouterr().err


def test_an_unknown_bug_is_one_line_and_a_report(song, tmp_path, capsys, monkeypatch):
    def broken(*arguments, **settings):
        raise ZeroDivisionError("on purpose")

    monkeypatch.setattr("mss_cli.batch.run.check", broken)
    assert main(["separate", str(song), "-o", str(tmp_path / "out")]) == 70
    line = capsys.readouterr().err.strip()
    assert line.count("\n") == 0
    report = line.split("`")[1]
    assert "ZeroDivisionError: on purpose" in Path(report).read_text()
    Path(report).unlink()


@pytest.mark.parametrize(
    "line",
    [
        "{song} -o {out}",
        "-n classical {song} --out {out}",
        "--two-stems=vocals {song} -o {out} -d cpu",
        "--two-stems vocals --mp3 --mp3-bitrate 320 {song} -o {out}",
        "--flac --int24 {song} -o {out} -j 2",
        "--float32 --clip-mode clamp {song} -o {out}",
        "--shifts 1 --overlap 0.1 --segment 1 {song} -o {out}",
        "-n classical --filename {{model}}/{{track}}/{{stem}}.{{ext}} {song} -o {out}",
    ],
)
def test_lines_written_for_demucs_work(song, tmp_path, line):
    arguments = line.format(song=song, out=tmp_path / "out").split()
    assert main(["separate", *arguments]) == 0
    assert any(path.is_file() for path in (tmp_path / "out").rglob("*.*"))
    if "{model}" in line.replace("{{", "{").replace("}}", "}"):
        assert (tmp_path / "out" / "classical" / "song" / "vocals.wav").is_file()


def test_a_picture_never_replaces_another_file(song, tmp_path, capsys):
    (tmp_path / "spectrogram.png").write_text("mine")
    again = write_music(tmp_path / "song2.wav", seconds=0.3)
    flags = ["--plot", "--filename", "{stem}.{ext}", "-o", str(tmp_path / "out")]
    assert main(["separate", str(song), str(again), *flags]) == 6
    assert "two inputs with one output name" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_peak_of_a_stem_file_is_that_of_all_its_streams(song, tmp_path, capsys):
    assert main(["separate", str(song), "-o", str(tmp_path / "out"), "--format", "stem.mp4", "--json"]) == 0
    finished = next(event for event in events(capsys.readouterr().out) if event["event"] == "track_finished")
    assert finished["outputs"][0]["peak"] == pytest.approx(np.abs(read(song)[0]).max(), abs=1e-4)


def test_a_format_that_cannot_hold_one_sample_says_so(tmp_path, capsys):
    soundfile.write(tmp_path / "short.wav", music()[:1], 192000, subtype="FLOAT")
    assert main(["separate", str(tmp_path / "short.wav"), "-o", str(tmp_path / "out"), "--mp3"]) == 6
    assert "shorter than one sample at 48000 Hz" in capsys.readouterr().err


@pytest.mark.parametrize("codec", ["VORBIS", "OPUS"])
def test_all_links_of_a_chained_ogg_are_separated(tmp_path, codec):
    for seed in (0, 1):
        soundfile.write(tmp_path / f"{seed}.ogg", music(1.0, 48000, seed=seed), 48000, subtype=codec)
    (tmp_path / "chain.ogg").write_bytes(b"".join((tmp_path / f"{seed}.ogg").read_bytes() for seed in (0, 1)))
    assert main(["separate", str(tmp_path / "chain.ogg"), "-o", str(tmp_path / "out")]) == 0
    assert len(read(tmp_path / "out" / "chain" / "bass.wav")[0]) >= 95_000
