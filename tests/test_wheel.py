"""The wheel, built and installed where nothing of the source tree can be seen."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from signals import write_music

ROOT = Path(__file__).resolve().parents[1]
DATA = {".json", ".toml", ".safetensors", ".txt"}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the source tree, with one file of weights more and its notice."""
    copy = tmp_path_factory.mktemp("tree")
    for folder in ("mss_cli", "models"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "LICENSE", "README.md", "CHANGELOG.md", ".gitignore"):
        shutil.copy(ROOT / name, copy)
    weights = copy / "mss_cli" / "weights" / "files"
    weights.mkdir(exist_ok=True)
    (weights / "more.safetensors").write_bytes(b"weights")
    (weights / "more.NOTICE.txt").write_text("whose they are\n", encoding="utf-8")
    return copy


@pytest.fixture(scope="module")
def wheel(tree, tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(tree)]
    subprocess.run(command, check=True, capture_output=True, timeout=200)
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_both_packages_and_the_licence_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {"mss_cli", "mss_models"} < tops
    assert all(top in ("mss_cli", "mss_models") or top.endswith(".dist-info") for top in tops)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert "mss_cli/commands/separate.py" in names


def test_the_wheel_holds_weights_with_their_notices_and_all_other_data(tree, wheel):
    there = {path for path in (tree / "mss_cli").rglob("*") if path.suffix in DATA}
    with zipfile.ZipFile(wheel) as file:
        inside = {name: file.read(name) for name in file.namelist() if Path(name).suffix in DATA}
    expected = {path.relative_to(tree).as_posix(): path.read_bytes() for path in there}
    assert {name: data for name, data in inside.items() if name.startswith("mss_cli/")} == expected
    assert {"mss_cli/weights/files/more.safetensors", "mss_cli/weights/published.toml"} < set(inside)


def test_the_wheel_works_in_an_environment_of_its_own(wheel, tmp_path):
    home = tmp_path / "venv"
    venv.create(home)
    python = home / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", wheel]
    subprocess.run(install, check=True, capture_output=True, timeout=120)
    # The dependencies of this environment, without its path files: the source tree stays out of sight.
    site = next((home / "lib").glob("python*/site-packages"))
    elsewhere = sysconfig.get_paths()["purelib"]
    (site / "dependencies.pth").write_text(f"import sys; sys.path.append({elsewhere!r})\n")
    song = write_music(tmp_path / "song.wav", seconds=0.5)
    settings = {"cwd": tmp_path, "env": {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}, "timeout": 120}
    where = subprocess.run(
        [python, "-c", "import mss_cli, mss_models; print(mss_cli.__file__, mss_models.__file__)"],
        capture_output=True, text=True, check=True, **settings,
    )  # fmt: skip
    assert all(Path(name).is_relative_to(home) for name in where.stdout.split())
    done = subprocess.run(
        [home / "bin" / "mss-cli", "separate", song, "-o", "out"], capture_output=True, check=False, **settings
    )
    assert done.returncode == 0, done.stderr.decode()
    assert (tmp_path / "out" / "song" / "vocals.wav").is_file()
