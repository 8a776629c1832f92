"""`nabz-agent doctor`: check this installation and say what is missing."""

from __future__ import annotations

import argparse
import json

from agent import config_file
from agent.common import logs
from agent.diagnostics import doctor
from agent.remote import trial

EXAMPLE = "nabz-agent doctor --json"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", metavar="FILE", help=f"settings (default: {config_file.DEFAULT_PATH}, if it is there)"
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def run(options: argparse.Namespace) -> int:
    """Exit code 1 when something is missing, 2 when the settings are wrong."""
    try:
        settings = trial.in_force(config_file.load_or_default(options.config))
    except config_file.SettingsError as error:
        logs.complain(str(error), "nabz-agent")
        return 2
    findings = []
    for finding in doctor.diagnose(settings):
        findings.append(finding)
        if not options.json:
            print(line(finding), flush=True)
    if options.json:
        print(json.dumps([row(finding) for finding in findings], ensure_ascii=False, indent=2))
    return 0 if all(finding.ok for finding in findings) else 1


def line(finding: doctor.Diagnosis) -> str:
    text = f"{'ok' if finding.ok else 'missing':<8} {finding.what:<18} {finding.detail}"
    return text if finding.ok else f"{text}; {finding.fix}"


def row(finding: doctor.Diagnosis) -> dict[str, object]:
    return {"what": finding.what, "ok": finding.ok, "detail": finding.detail, "fix": finding.fix}
