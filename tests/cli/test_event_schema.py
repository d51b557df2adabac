"""The JSON Schema of events: it says what the classes say, and real runs obey it."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import types
import typing
from importlib.resources import files
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from mss_cli.events import EVENTS, SCHEMA, Part, to_json
from mss_cli.main import main
from signals import write_music

CONTENT = json.loads(files("mss_cli").joinpath("events.schema.json").read_text(encoding="utf-8"))
DEFINITIONS = CONTENT["$defs"]
VALIDATOR = Draft202012Validator(CONTENT)
PARTS = {
    part: "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in part.__name__).lstrip("_")
    for part in typing.get_args(Part)
}
NAMES = {**{event: event.name for event in EVENTS}, **PARTS}
JSON_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", Path: "string", type(None): "null"}


def json_types(annotation):
    """Give the JSON types that a field's annotation allows."""
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        return set().union(*map(json_types, typing.get_args(annotation)))
    return {"array"} if typing.get_origin(annotation) is tuple else {JSON_TYPES[annotation]}


def schema_types(entry):
    """Give the JSON types that an entry of the schema allows."""
    if "const" in entry or "enum" in entry:
        return {JSON_TYPES[type(value)] for value in entry.get("enum", [entry.get("const")])}
    return {entry["type"]} if isinstance(entry["type"], str) else set(entry["type"])


@pytest.fixture
def events(tmp_path, capsys):
    """Run the command, check every line, and give the exit code and the events."""

    def run(*arguments):
        capsys.readouterr()
        flags = ["-o", str(tmp_path / "out"), "--json", "--device", "cpu", "--jobs", "1"]
        code = main(["separate", *flags, *map(str, arguments)])
        return code, checked(capsys.readouterr().out)

    return run


def checked(text):
    """Validate a stream, line by line, and give its events."""
    seen = [json.loads(line) for line in text.splitlines()]
    for event in seen:
        VALIDATOR.validate(event)
        assert set(event) <= set(DEFINITIONS[event["event"]]["properties"])
    assert (seen[0]["event"], seen[-1]["event"]) == ("run_started", "run_finished")
    assert seen[0]["schema"] == SCHEMA
    return seen


def test_the_schema_is_one():
    Draft202012Validator.check_schema(CONTENT)


def test_its_version_is_that_of_the_events():
    assert CONTENT["$id"] == f"urn:mss-cli:events:{SCHEMA}"
    assert DEFINITIONS["run_started"]["properties"]["schema"]["const"] == SCHEMA


def test_every_event_is_in_it_once():
    assert sorted(entry["$ref"].rpartition("/")[2] for entry in CONTENT["oneOf"]) == sorted(
        event.name for event in EVENTS
    )


@pytest.mark.parametrize("value", NAMES, ids=NAMES.get)
def test_fields_and_types_are_those_of_the_class(value):
    definition = DEFINITIONS[NAMES[value]]
    hints = typing.get_type_hints(value)
    fields = {field.name: hints[field.name] for field in dataclasses.fields(value)}
    head = {"event", "time"} if value in EVENTS else set()
    paths = {f"{name}_b64" for name, hint in fields.items() if Path in (hint, *typing.get_args(hint))}
    assert set(definition["properties"]) == head | set(fields) | paths
    assert set(definition["required"]) == head | set(fields)
    for name, hint in fields.items():
        assert schema_types(definition["properties"][name]) == json_types(hint), name


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.name)
def test_an_event_without_one_of_its_fields_is_refused(event):
    definition = DEFINITIONS[event.name]
    samples = {"string": "x", "integer": 1, "number": 0.5, "boolean": True, "array": [], "null": None}
    whole = {"event": event.name, "time": "2026-11-20T21:04:11Z"}
    for name in definition["required"][2:]:
        entry = definition["properties"][name]
        whole[name] = entry.get("const", entry.get("enum", [None])[0]) or samples[min(schema_types(entry))]
    VALIDATOR.validate(whole)
    for name in whole:
        assert not VALIDATOR.is_valid({key: value for key, value in whole.items() if key != name}), name
        assert not VALIDATOR.is_valid({**whole, name: {"no": "such"}}), name


def test_done_skipped_and_failed_tracks_obey_it(tmp_path, events):
    write_music(tmp_path / "in" / "good.wav", seconds=0.2)
    (tmp_path / "in" / "bad.wav").write_text("no sound\n")
    code, seen = events(tmp_path / "in")
    assert (code, {"run_planned", "weights_ready", "track_started", "track_finished", "track_failed"}) == (
        1, {event["event"] for event in seen} - {"run_started", "run_finished", "warning", "track_progress"}
    )  # fmt: skip
    assert "track_skipped" in {event["event"] for event in events(tmp_path / "in")[1]}


def test_a_dry_run_obeys_it(tmp_path, events):
    code, seen = events(write_music(tmp_path / "song.wav", seconds=0.2), "--dry-run")
    assert code == 0
    assert [event["event"] for event in seen[1:-1]] == ["track_planned", "run_planned"]


def test_pictures_and_names_that_are_no_text_obey_it(tmp_path, events):
    song = write_music(tmp_path / "song.wav", seconds=0.2).rename(tmp_path / os.fsdecode(b"caf\xe9.wav"))
    code, seen = events(song, "--plot")
    assert code == 0
    finished = next(event for event in seen if event["event"] == "track_finished")
    assert "path_b64" in finished["extras"][0]


@pytest.mark.parametrize(
    ("arguments", "code"), [(["--no-such-flag"], 2), ([], 2), (["missing.wav"], 3), (["x.wav", "-m", "none"], 2)]
)
def test_a_run_that_cannot_start_obeys_it(events, arguments, code, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert events(*arguments)[0] == code


def test_a_run_that_is_stopped_obeys_it(tmp_path):
    for name in ("a.wav", "b.wav"):
        write_music(tmp_path / "in" / name, seconds=20.0)
    command = [sys.executable, "-m", "mss_cli", "separate", str(tmp_path / "in"), "-o", str(tmp_path / "out")]
    with subprocess.Popen(
        [*command, "--json", "--jobs", "1", "--device", "cpu"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if json.loads(line)["event"] == "track_started":
                process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == -signal.SIGTERM
    seen = checked(b"".join(lines).decode())
    assert seen[-1]["exit_code"] == 143
    left = [Path(event["path"]).name for event in seen if event["event"] == "track_not_tried"]
    assert left == ["a.wav", "b.wav"]


def test_what_is_written_is_what_was_checked():
    from mss_cli.events import RunFinished

    assert VALIDATOR.is_valid(json.loads(to_json(RunFinished(exit_code=0))))
    assert not VALIDATOR.is_valid(json.loads(to_json(RunFinished(exit_code=256))))
