"""What leaves this repository: one wheel of two packages, locked dependencies, and nothing of this machine."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from tests.helpers import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKS = sorted((ROOT / "requirements").glob("*.lock"))
VENDOR = "collector/web/static/vendor"
# Written so that this file does not hold what it looks for.
REGISTRIES = re.compile("|".join(["py" + "pi.org", "python" + "hosted", "registry.npm" + "js"]))
MACHINE = re.compile("|".join([r"(?<![\w.])/" + place + r"/[\w.-]" for place in ("work", "root", "home")]))
MACHINE_ALLOWED = {"tests/project/packages/test_package.py"}


def tracked() -> list[str]:
    """What git holds, or would hold: all but ignored files."""
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    found = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT).stdout.splitlines()
    return sorted(name for name in found if (ROOT / name).is_file())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a clean copy. The npm files of `make install` are taken along, so that none is fetched."""
    copy, out = tmp_path_factory.mktemp("clean"), tmp_path_factory.mktemp("wheel")
    for name in tracked():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy / name)
    if (ROOT / VENDOR).exists():
        shutil.copytree(ROOT / VENDOR, copy / VENDOR)
    words = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", out, copy]
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = out.iterdir()
    return built


def names_in(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_the_wheel_holds_the_two_packages_and_nothing_else(wheel: Path) -> None:
    tops = {name.partition("/")[0] for name in names_in(wheel)}
    assert tops == {"agent", "collector", f"nabz-{metadata.version('nabz')}.dist-info"}


def test_the_wheel_holds_every_file_of_the_two_packages(wheel: Path) -> None:
    ours = {name for name in tracked() if name.startswith(("agent/", "collector/"))}
    assert ours <= set(names_in(wheel))
    strange = {name for name in names_in(wheel) if not name.startswith(("nabz-", VENDOR))} - ours
    assert not strange


def test_the_pages_files_from_npm_are_in_the_wheel_with_their_licences(wheel: Path) -> None:
    vendored = {name.removeprefix(f"{VENDOR}/") for name in names_in(wheel) if name.startswith(VENDOR)}
    assert {"htmx.js", "uplot.js", "uplot.css", "leaflet.js", "leaflet.css"} <= vendored
    assert any(name.endswith(".woff2") for name in vendored)
    assert len([name for name in vendored if name.startswith("licenses/")]) >= 3


def test_no_file_from_npm_is_committed() -> None:
    assert not [name for name in tracked() if name.startswith((VENDOR, "node_modules"))]


def test_the_wheel_runs_by_itself(wheel: Path, tmp_path: Path) -> None:
    """Unpacked elsewhere, away from this checkout, each of the three commands answers for itself."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    for name, command in (("agent", "nabz-agent"), ("agent.seat", "nabz-seat"), ("collector", "nabz-collector")):
        words = [sys.executable, "-P", "-m", name, "--version"]
        done = subprocess.run(
            words, capture_output=True, text=True, check=False, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}
        )
        assert (done.returncode, done.stdout) == (0, f"{command} {metadata.version('nabz')}\n"), done.stderr


def test_nobody_else_in_this_environment_ships_our_names() -> None:
    """Two wheels with a folder of one name overwrite each other in silence."""
    owners = {
        distribution.name
        for distribution in metadata.distributions()
        for file in distribution.files or ()
        if file.parts[0] in ("agent", "collector")
    }
    assert owners <= {"nabz"}
    for name in ("agent", "collector"):
        done = subprocess.run(
            [sys.executable, "-c", f"import {name}; print({name}.__file__)"],
            capture_output=True, text=True, check=True, cwd="/",
        )  # fmt: skip
        assert Path(done.stdout.strip()).parent == ROOT / name


def test_the_commands_are_declared_and_installed() -> None:
    assert set(PROJECT["scripts"]) == {"nabz-agent", "nabz-seat", "nabz-collector", "nabz-verify"}
    assert all((Path(sys.prefix) / "bin" / name).exists() for name in PROJECT["scripts"])


# ---------------------------------------------------------------- locks


# What comes with a library that is declared, as a part of it.
PART_OF = {"markupsafe": "jinja2", "starlette": "fastapi", "pyasn1": "pysnmp"}


@pytest.mark.parametrize("package", ["agent", "collector"])
def test_what_the_code_imports_is_declared(package: str) -> None:
    """A library that only came along with another one is gone when that one changes its mind."""
    extras = {"collector": ["collector", "archive", "oidc", "reports"], "agent": ["agent", "updates"]}[package]
    words = [word for extra in extras for word in PROJECT["optional-dependencies"][extra]]
    declared = {re.split(r"[^\w-]", word)[0] for word in words}
    shipped = metadata.packages_distributions()
    assert imported(package)
    for name in imported(package):
        distributions = {
            PART_OF.get(item.lower(), item.lower().replace("_", "-")) for item in shipped.get(name, [name])
        }
        assert distributions & declared, f"{name} is imported and not declared in [{package}]"


def imported(package: str) -> set[str]:
    """The names of other people's packages that this one imports."""
    names: set[str] = set()
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names) - {"agent", "collector"}


def test_there_is_a_lock_for_every_role() -> None:
    assert {path.stem for path in LOCKS} == set(PROJECT["optional-dependencies"])


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_a_lock_pins_everything_by_hash_and_names_no_registry(path: Path) -> None:
    entries = [item for item in re.split(r"\n(?=\S)", path.read_text().strip()) if not item.startswith("#")]
    assert entries
    for entry in entries:
        assert re.match(r"[a-z0-9][a-z0-9._-]*(\[[a-z,]+\])?==\S+", entry), entry[:80]
        assert "--hash=sha256:" in entry, entry[:80]
    assert "index-url" not in path.read_text()


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_a_lock_holds_what_its_role_asks_for(path: Path) -> None:
    locked = {re.sub(r"[-_.]+", "-", name) for name in re.findall(r"^([a-z0-9._-]+)", path.read_text(), re.MULTILINE)}
    for wanted in PROJECT["optional-dependencies"][path.stem]:
        name = re.sub(r"[-_.]+", "-", re.split(r"[<>=!~\[ ]", wanted)[0]).lower()
        assert name in locked, f"{wanted} is not in {path.name}; run `make lock`"


def test_the_agents_and_the_seats_locks_are_as_small_as_their_hosts() -> None:
    names = {path.stem: re.findall(r"^([a-z0-9._-]+)==", path.read_text(), re.MULTILINE) for path in LOCKS}
    assert names["seat"] == ["psutil", "securesystemslib", "tuf", "urllib3"]
    assert not {"fastapi", "sqlalchemy", "pydantic", "amqtt"} & set(names["agent"])


# ---------------------------------------------------------------- nothing of this machine


def test_no_file_names_a_place_of_this_machine_or_a_registry() -> None:
    for name in tracked():
        if name in MACHINE_ALLOWED:
            continue
        try:
            text = (ROOT / name).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        assert not (found := MACHINE.search(text)), f"{name}: {found}"
        assert not (found := REGISTRIES.search(text)), f"{name}: {found}"
