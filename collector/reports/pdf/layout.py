"""The process that lays a report out: data from standard input, the template, a PDF to standard output."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Literal

import typst

# Fonts by the letters that they have; the first ones that the machine has are used.
LETTERS = {
    "Latin": ("Noto Sans", "DejaVu Sans"),
    "Urdu": ("Noto Nastaliq Urdu", "Noto Naskh Arabic", "Noto Sans Arabic", "Amiri", "Scheherazade New"),
}
TEMPLATE = Path(__file__).with_name("report.typ")
STANDARD: Literal["ua-1"] = "ua-1"  # PDF/UA-1 (ISO 14289-1): tagged, with a title and words for pictures


def main() -> int:
    values = json.load(sys.stdin.buffer)
    fonts = typst.Fonts(include_embedded_fonts=False)
    held = fonts.families()
    if lacking := [letters for letters in values["letters"] if not set(LETTERS[letters]) & set(held)]:
        sys.stderr.write(f"no font of this machine has {lacking[0]} letters; install the package fonts-noto-core\n")
        return 1
    values["fonts"] = [name for letters in values["letters"] for name in LETTERS[letters] if name in held]
    try:
        pdf = typst.compile(
            TEMPLATE, sys_inputs={"data": json.dumps(values)}, font_paths=fonts, pdf_standards=[STANDARD]
        )
    except typst.TypstError as error:
        sys.stderr.write(f"{' '.join(str(error).split())}\n")
        return 1
    sys.stdout.buffer.write(pdf)
    return 0


if __name__ == "__main__":
    sys.exit(main())
