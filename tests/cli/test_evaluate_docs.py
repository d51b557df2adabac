import json
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def documented(language):
    page = (ROOT / "docs" / "evaluate.md").read_text()
    return re.findall(rf"```{language}\n(.*?)```", page, flags=re.DOTALL)


def test_the_documented_action_passes_and_fails_on_a_drop(shell, tmp_path):
    yaml = pytest.importorskip("yaml")
    (text,) = documented("yaml")
    steps = yaml.safe_load(text)["jobs"]["scores"]["steps"]
    (line,) = [step["run"] for step in steps if step.get("run", "").startswith("mss-cli evaluate")]
    words = shlex.split(line)
    gates = words.index("--against")
    first = shell(shlex.join(words[:gates]).replace("--output scores", "--output expected"))
    assert first.returncode == 0, first.stderr
    done = shell(line)
    assert done.returncode == 0, done.stderr
    assert any(
        step.get("uses", "").startswith("actions/upload-artifact") and step["if"] == "always()" for step in steps
    )
    path = tmp_path / "expected" / "results.json"
    document = json.loads(path.read_text())
    for track in document["tracks"]:
        frames = track["stems"]["vocals"]["frames"]
        frames["SDR"] = [value if value is None else value + 0.1 for value in frames["SDR"]]
    path.write_text(json.dumps(document))
    done = shell(line)
    assert done.returncode == 1
    assert "vocals SDR" in done.stderr


def test_the_documented_lines_are_commands_that_parse(shell):
    text, pitch = documented("sh")
    lines = text.strip().splitlines()
    assert len(lines) == 4
    assert [shell(line.replace("songs", "nowhere")).returncode for line in pitch.strip().splitlines()] == [3, 8]
    done = shell(lines[3])
    assert done.returncode == 0, done.stderr
    for line in lines[:3]:
        assert "no such folder" in shell(line.replace("--root songs", "--root nowhere")).stderr
