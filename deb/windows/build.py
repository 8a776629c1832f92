"""Builds the installer of seats for Windows: python deb/windows/build.py --python ZIP --sha256 HEX [--out DIR]

ZIP is Python's embeddable package for Windows (python.org, "Windows embeddable package (64-bit)"), HEX its SHA-256 as
python.org shows it: it is packed as it is, and never downloaded here. Needs makensis (Debian: apt install nsis).
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Builds nabz-seat-setup.exe.")
    parser.add_argument("--python", type=Path, required=True, metavar="ZIP", help="its embeddable package for Windows")
    parser.add_argument("--sha256", required=True, metavar="HEX", help="of that file, from python.org")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", metavar="DIR")
    options = parser.parse_args(words)
    digest = hashlib.sha256(options.python.read_bytes()).hexdigest()
    if digest != options.sha256.lower():
        sys.exit(f"{options.python}: its SHA-256 is {digest}, not {options.sha256}; download it again")
    work = ROOT / "build" / "windows"
    shutil.rmtree(work, ignore_errors=True)
    program = work / "program"
    minor = embedded_python(options.python, program)
    modules(program / "site-packages", minor, work)
    made = setup(program, options.out)
    sys.stdout.write(f"{made}  {made.stat().st_size / 1e6:.1f} MB\n")
    return 0


def embedded_python(source: Path, program: Path) -> int:
    """Unpacks it and lets it see our modules and no others; returns its minor version."""
    with zipfile.ZipFile(source) as archive:
        archive.extractall(program)
    found = [re.fullmatch(r"python3(\d+)\._pth", path.name) for path in program.glob("*._pth")]
    if len(found) != 1 or found[0] is None or not (program / "python.exe").exists():
        sys.exit(f"{source}: is not an embeddable package of Python 3 for Windows")
    minor = int(found[0][1])
    (program / found[0][0]).write_text(f"python3{minor}.zip\n.\nsite-packages\n")
    return minor


def modules(site: Path, minor: int, work: Path) -> None:
    """The seat's hash-locked wheels for Windows, and this code."""
    ran(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", str(site),
        "--platform", "win_amd64", "--python-version", f"3.{minor}", "--only-binary", ":all:", "--no-compile",
        "--require-hashes", "-r", str(ROOT / "requirements" / "seat.lock"))  # fmt: skip
    ran(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(work))
    with zipfile.ZipFile(next(work.glob("nabz-*.whl"))) as archive:
        archive.extractall(site, [name for name in archive.namelist() if name.startswith("agent/")])
    for place in [*site.rglob("__pycache__"), *site.rglob("tests"), site / "bin"]:
        shutil.rmtree(place, ignore_errors=True)


def setup(program: Path, out: Path) -> Path:
    found = re.search(r'__version__ = "(.+)"', (ROOT / "agent" / "__init__.py").read_text("utf-8"))
    assert found is not None
    out.mkdir(parents=True, exist_ok=True)
    made = out.resolve() / f"nabz-seat-setup-{found[1]}.exe"
    ran("makensis", "-V2", f"-DVERSION={found[1]}", f"-DPROGRAM={program}", f"-DOUT={made}", str(HERE / "setup.nsi"))
    return made


def ran(*words: str) -> None:
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(words[:6])}: exit {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
