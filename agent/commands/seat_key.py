"""`nabz-agent seat-key`: print the key that seat PCs of this center share with their gateway."""

from __future__ import annotations

import argparse
import json
import sys

from agent import config_file, identity
from agent.common import logs
from agent.common.errors import describe

EXAMPLE = "nabz-agent seat-key"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", metavar="FILE", help=f"settings (default: {config_file.DEFAULT_PATH}, if it is there)"
    )
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def run(options: argparse.Namespace) -> int:
    try:
        folder = config_file.load_or_default(options.config).state_dir
        if not folder.is_dir():  # a key made in a mistyped folder would go to twenty PCs and open nothing
            raise identity.NotEnrolled(
                f"{folder}: is not there", "enrol with `nabz-agent enrol URL`, or name the settings with --config"
            )
        key = identity.seat_key(folder).hex()
    except config_file.SettingsError as error:
        logs.complain(str(error), "nabz-agent")
        return 2
    except (identity.IdentityError, OSError) as error:
        print(f"nabz-agent: {describe(error)}", file=sys.stderr)
        return 1
    print(json.dumps({"seat_key": key}) if options.json else key)
    return 0
