"""`nabz-agent support-bundle`: one file for whoever helps from afar, without secrets."""

from __future__ import annotations

import argparse
import http.client
import io
import json
import platform
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from agent import __version__, config_file
from agent.commands import status
from agent.common import logs
from agent.common.errors import describe
from agent.config import AgentSettings
from agent.diagnostics import doctor
from agent.diagnostics.redact import cleaned, redacted, secrets_of
from agent.remote import trial

EXAMPLE = "nabz-agent support-bundle --out /tmp/nabz-support.tar.gz"
LOG_LINES = "2000"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, metavar="FILE", help="(default: nabz-support-TIME.tar.gz here)")
    parser.add_argument(
        "--config", metavar="FILE", help=f"settings (default: {config_file.DEFAULT_PATH}, if it is there)"
    )


def run(options: argparse.Namespace) -> int:
    try:
        base = config_file.load_or_default(options.config)
    except config_file.SettingsError as error:
        logs.complain(str(error), "nabz-agent")
        return 2
    out = options.out or Path(time.strftime("nabz-support-%Y%m%dT%H%M%SZ.tar.gz", time.gmtime()))
    try:
        write(out, contents(base))
    except OSError as error:
        print(f"nabz-agent: {out}: cannot be written ({describe(error)}); name another with --out", file=sys.stderr)
        return 1
    print(f"{out}: written; read it before you give it away: it holds addresses, and no secrets that are known")
    return 0


def contents(base: AgentSettings) -> dict[str, str]:
    """The files of the bundle by name. What cannot be had is said in its place."""
    settings = trial.in_force(base)
    known = secrets_of(settings) | secrets_of(base)
    by_name = {name: _tried(part, base) for name, part in PARTS.items()}
    texts = {
        name: value if isinstance(value, str) else json.dumps(cleaned(value, known), ensure_ascii=False, indent=1)
        for name, value in by_name.items()
    }
    return {name: redacted(text, known) if name.endswith(".txt") else text for name, text in texts.items()}


def _tried(part: Callable[[AgentSettings], object], base: AgentSettings) -> object:
    try:
        return part(base)
    except (OSError, ValueError, http.client.HTTPException, subprocess.SubprocessError) as error:
        return {"failed": describe(error)}


def _versions(_base: AgentSettings) -> object:
    return {"agent": __version__, "python": platform.python_version(), "system": platform.platform()}


def _settings(base: AgentSettings) -> object:
    return {"file": msgspec.to_builtins(base), "in_force": msgspec.to_builtins(trial.in_force(base))}


def _remote(base: AgentSettings) -> object:
    return msgspec.to_builtins(trial.read(base.state_dir / trial.FILE))


def _status(base: AgentSettings) -> object:
    return status.fetch(base.agent.status_listen)


def _doctor(base: AgentSettings) -> object:
    findings = doctor.diagnose(trial.in_force(base))
    return [{"what": one.what, "ok": one.ok, "detail": one.detail, "fix": one.fix} for one in findings]


def _files(base: AgentSettings) -> object:
    usage = shutil.disk_usage(base.state_dir)
    sizes = {path.name: path.stat().st_size for path in sorted(base.state_dir.iterdir()) if path.is_file()}
    return {"free_bytes": usage.free, "total_bytes": usage.total, "sizes": sizes}


def _log(_base: AgentSettings) -> object:
    argv = ["journalctl", "--unit", "nabz-agent", "--lines", LOG_LINES, "--no-pager", "--output", "short-iso"]
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=30).stdout


PARTS: Mapping[str, Callable[[AgentSettings], object]] = {
    "versions.json": _versions,
    "settings.json": _settings,
    "remote.json": _remote,
    "status.json": _status,
    "doctor.json": _doctor,
    "files.json": _files,
    "log.txt": _log,
}


def write(out: Path, files: Mapping[str, str]) -> None:
    """Readable to its owner alone. Raises OSError."""
    out.touch(mode=0o600)
    with tarfile.open(out, "w:gz") as bundle:
        for name, text in files.items():
            body = text.encode("utf-8", "replace")
            member = tarfile.TarInfo(f"nabz-support/{name}")
            member.size, member.mode, member.mtime = len(body), 0o600, int(time.time())
            bundle.addfile(member, io.BytesIO(body))
