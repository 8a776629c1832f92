"""Builds the Debian packages (`make deb`): python deb/build.py [--out DIR] [--version V] [PACKAGE ...]

Each has an environment of its own below /usr/lib, made of the hash-locked wheels for this machine's /usr/bin/python3
and architecture: run it on the Debian release and processor that it is for. Nothing of it is in the way of Debian's own
Python modules, and no maintainer script needs a network.
"""

from __future__ import annotations

import argparse
import gzip
import os
import platform
import re
import shutil
import subprocess
import sys
import time
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent
PYTHON = "/usr/bin/python3"
SCRIPTS = ("postinst", "prerm", "postrm")
EXECUTED = (*SCRIPTS, "nabz-agent", "nabz-seat", "nabz-collector")
OLD_PLACES = (("/opt/nabz/bin/", "/usr/bin/"), ("/opt/nabz/share/doc/nabz/", "/usr/share/doc/@PACKAGE@/"))
MAINTAINER = "Nabz maintainers <maintainers@nabz.invalid>"

Package = Mapping[str, Any]


def main(words: list[str]) -> int:
    packages: dict[str, Package] = tomllib.loads((HERE / "packages.toml").read_text("utf-8"))
    parser = argparse.ArgumentParser(description="Builds the Debian packages.")
    parser.add_argument("names", nargs="*", metavar="PACKAGE", help=f"(default: {', '.join(packages)})")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", metavar="DIR")
    parser.add_argument("--version", metavar="V", help="(default: of the code, its commit and the Debian release)")
    parser.add_argument("--wheel", type=Path, metavar="FILE", help="of this code, from elsewhere (default: built here)")
    options = parser.parse_args(words)
    options.out.mkdir(parents=True, exist_ok=True)
    at_version = options.version or version(debian_release())
    if "SOURCE_DATE_EPOCH" not in os.environ:
        os.environ["SOURCE_DATE_EPOCH"] = ran("git", "log", "-1", "--format=%ct").strip() or str(int(time.time()))
    work = ROOT / "build" / "deb"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    wheel = options.wheel or build_wheel(work)
    for name in options.names or packages:
        made = build(name, packages[name], at_version, wheel, work / name, options.out)
        sys.stdout.write(f"{made}  {made.stat().st_size / 1e6:.1f} MB\n")
    return 0


def build_wheel(folder: Path) -> Path:
    ran(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder))
    return next(folder.glob("nabz-*.whl"))


def version(release: str) -> str:
    """The code's, with the number of commits, the last one's name and the Debian release: later builds are newer, and
    those of two releases lie in one repository."""
    found = re.search(r'__version__ = "(.+)"', (ROOT / "agent" / "__init__.py").read_text("utf-8"))
    assert found is not None
    count, commit = (
        ran("git", "rev-list", "--count", "HEAD").strip(),
        ran("git", "rev-parse", "--short", "HEAD").strip(),
    )
    return f"{found[1]}+git{count}.{commit}~deb{release}"


def debian_release() -> str:
    """Such as 12; of a Debian that is not released yet, its name."""
    facts = platform.freedesktop_os_release()
    return facts.get("VERSION_ID") or facts["VERSION_CODENAME"]


def build(name: str, package: Package, at_version: str, wheel: Path, stage: Path, out: Path) -> Path:
    """Stages one package's tree and packs it."""
    home = stage / "usr" / "lib" / name
    site = environment(home, [ROOT / "requirements" / f"{name}.lock" for name in package["locks"]])
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site, [member for member in archive.namelist() if member.split("/")[0] in package["code"]])
    launcher(home, stage, package)
    service_files(name, package, stage)
    documents(name, package, at_version, site, stage)
    control(name, package, at_version, home, stage)
    for path in stage.rglob("*"):
        if not path.is_symlink():
            path.chmod(
                0o755 if path.is_dir() or (path.parent.name in ("bin", "DEBIAN") and path.name in EXECUTED) else 0o644
            )
    target = out / f"{name}_{at_version}_{architecture()}.deb"
    ran("dpkg-deb", "--root-owner-group", "-Zxz", "-z2", "--build", str(stage), str(target))
    return target


def environment(home: Path, locks: list[Path]) -> Path:
    """A virtual environment that needs nothing but Debian's Python; returns where its modules are. What has no wheel
    for this processor is compiled here, from the source whose hash is locked."""
    ran(PYTHON, "-m", "venv", "--without-pip", str(home))
    python = home / "bin" / "python3"
    ran(sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--disable-pip-version-check",
        "--no-compile", "--require-hashes", *(word for lock in locks for word in ("-r", str(lock))))  # fmt: skip
    for path in (home / "bin").iterdir():  # what other projects bring: their shebangs name the place of building
        path.unlink()
    python.symlink_to("../../../bin/python3")
    (home / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    for leftover in ("include", "share", "lib64"):
        place = home / leftover
        place.unlink() if place.is_symlink() else shutil.rmtree(place, ignore_errors=True)
    site = next((home / "lib").glob("python3.*")) / "site-packages"
    for path in [*site.rglob("__pycache__"), *site.rglob("tests")]:
        shutil.rmtree(path, ignore_errors=True)
    for path in [*site.rglob(".DS_Store"), *site.rglob(".gitignore")]:  # of whoever packed a wheel
        path.unlink()
    return site


def launcher(home: Path, stage: Path, package: Package) -> None:
    """/usr/bin/COMMAND, by the environment's own Python."""
    command = str(package["command"])
    module = {"nabz-agent": "agent", "nabz-seat": "agent.seat", "nabz-collector": "collector"}[command]
    path = home / "bin" / command
    path.write_text(f"#!/{home.relative_to(stage)}/bin/python3 -I\n"
                    f"import sys\nfrom {module}.__main__ import main\nsys.exit(main())\n")  # fmt: skip
    path.chmod(0o755)
    (stage / "usr" / "bin").mkdir(parents=True)
    (stage / "usr" / "bin" / command).symlink_to(f"../lib/{home.name}/bin/{command}")


def service_files(name: str, package: Package, stage: Path) -> None:
    units = stage / "usr" / "lib" / "systemd" / "system"
    units.mkdir(parents=True)
    for unit in (*package["enabled"], *package["units"]):
        source = next(path for path in (ROOT / "systemd" / unit, HERE / "units" / unit) if path.exists())
        text = source.read_text("utf-8")
        for old, new in OLD_PLACES:
            text = text.replace(old, new.replace("@PACKAGE@", name))
        (units / unit).write_text(text)
        if (extra := HERE / "units" / f"{unit}.d").is_dir():
            shutil.copytree(extra, units / extra.name)
    users = (str(package["user"]), *(["nabz-measure"] if "nabz-measure.service" in package["units"] else []))
    lines = (ROOT / "systemd" / "sysusers.d" / "nabz.conf").read_text("utf-8").splitlines()
    write(stage / "usr/lib/sysusers.d" / f"{name}.conf", [line for line in lines if _of(line, users)])
    lines = (ROOT / "systemd" / "tmpfiles.d" / "nabz.conf").read_text("utf-8").splitlines()
    write(stage / "usr/lib/tmpfiles.d" / f"{name}.conf", [line for line in lines if _of(line, (*users, "/etc/nabz"))])
    for file in package["sysctl"]:
        write(stage / "usr/lib/sysctl.d" / file, (ROOT / "systemd/sysctl.d" / file).read_text("utf-8").splitlines())
    for file, source in package["settings"].items():
        write(stage / "etc/nabz" / file, (ROOT / source).read_text("utf-8").splitlines())


def _of(line: str, words: tuple[str, ...]) -> bool:
    return not line.startswith("#") and any(word in line.split() for word in words)


def documents(name: str, package: Package, at_version: str, site: Path, stage: Path) -> None:
    """Documentation, licences, the changelog; why lintian is silenced where it is."""
    docs = stage / "usr" / "share" / "doc" / name
    docs.mkdir(parents=True)
    shutil.copy(ROOT / "systemd" / "README.md", docs / "README.md")
    for page in package["docs"]:
        shutil.copy(ROOT / "docs" / page, docs / page)
    write(docs / "copyright", copyright_lines(site))
    date = time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime(int(os.environ["SOURCE_DATE_EPOCH"])))
    entry = f"{name} ({at_version}) stable; urgency=medium\n\n  * See its CHANGELOG.md.\n\n -- {MAINTAINER}  {date}\n"
    (docs / "changelog.gz").write_bytes(gzip.compress(entry.encode(), mtime=0))
    write(stage / "usr/share/lintian/overrides" / name,
          (HERE / "overrides" / "lintian").read_text("utf-8").replace("@PACKAGE@", name).splitlines())  # fmt: skip


def copyright_lines(site: Path) -> Iterator[str]:
    """DEP-5: ours, and each project whose wheel is inside, as its metadata says."""
    yield "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/"
    yield "Upstream-Name: nabz"
    yield ""
    yield "Files: *"
    yield "Copyright: 2026 the Nabz authors"
    yield "License: Apache-2.0"
    for metadata in sorted(site.glob("*.dist-info/METADATA")):
        facts = HeaderParser().parsestr(metadata.read_text("utf-8", "replace"))
        words = facts["License-Expression"] or (facts["License"] or "see-its-metadata").splitlines()[0]
        yield ""
        yield f"Files: usr/lib/*/site-packages/{metadata.parent.name.split('-')[0]}*"
        yield f"Copyright: {facts['Author'] or facts['Author-email'] or 'the authors of ' + facts['Name']}"
        yield f"License: {re.sub(r'[^A-Za-z0-9.+-]+', '-', words).strip('-')[:60]}"
        yield f" {facts['Name']} {facts['Version']}: its licence is beside its modules, in {metadata.parent.name}."
    yield ""
    yield "License: Apache-2.0"
    yield " On Debian systems the text is in /usr/share/common-licenses/Apache-2.0."


def control(name: str, package: Package, at_version: str, home: Path, stage: Path) -> None:
    folder = stage / "DEBIAN"
    folder.mkdir()
    minor = int(next((home / "lib").glob("python3.*")).name.split(".")[1])
    depends = [f"python3 (>= 3.{minor}~)", f"python3 (<< 3.{minor + 1})", "libc6 (>= 2.28)", "ca-certificates",
               "systemd | systemd-standalone-sysusers", "systemd | systemd-standalone-tmpfiles", "procps"]  # fmt: skip
    fields = {
        "Package": name, "Version": at_version, "Architecture": architecture(), "Maintainer": MAINTAINER,
        "Section": "net", "Priority": "optional", "Installed-Size": str(installed_kb(stage)),
        "Depends": ", ".join(depends), "Recommends": package["recommends"], "Description": package["summary"],
    }  # fmt: skip
    lines = [f"{key}: {value}" for key, value in fields.items() if value]
    write(folder / "control", lines + [f" {line}" for line in package["description"].strip().splitlines()])
    texts = {"PACKAGE": name, "KEPT": package["kept"], **{
        key.upper(): " ".join(package[key]) for key in ("enabled", "units", "sysctl", "purged")}}  # fmt: skip
    for script in SCRIPTS:
        text = (HERE / "scripts" / script).read_text("utf-8")
        for key, value in texts.items():
            text = text.replace(f"@{key}@", value)
        (folder / script).write_text(text)
        (folder / script).chmod(0o755)
    if package["settings"]:
        write(folder / "conffiles", [f"/etc/nabz/{file}" for file in package["settings"]])
    files = sorted(path for path in stage.rglob("*") if path.is_file() and not path.is_symlink())
    files = [path for path in files if folder not in path.parents]
    sums = ran("md5sum", *(str(path.relative_to(stage)) for path in files), cwd=stage)
    (folder / "md5sums").write_text(sums)


def installed_kb(stage: Path) -> int:
    return sum(-(-path.lstat().st_size // 1024) for path in stage.rglob("*"))


def architecture() -> str:
    return ran("dpkg", "--print-architecture").strip()


def write(path: Path, lines: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines).rstrip() + "\n")


def ran(*words: str, cwd: Path = ROOT) -> str:
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(words[:6])}: exit {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
