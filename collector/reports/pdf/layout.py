"""The process that lays a report out: data from standard input, the template, a PDF to standard output."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Literal

import typst

from agent.common.errors import describe

# Fonts by the letters that they have; the first ones that the machine has are used.
LETTERS = {
    "Latin": ("Noto Sans", "DejaVu Sans", "Libertinus Serif"),  # the last comes with typst
    "Urdu": ("Noto Nastaliq Urdu", "Noto Naskh Arabic", "Noto Sans Arabic", "Amiri", "Scheherazade New"),
}
TEMPLATE = Path(__file__).with_name("report.typ")
STANDARD: Literal["ua-1"] = "ua-1"  # PDF/UA-1 (ISO 14289-1): tagged, with a title and words for pictures


def main() -> int:
    values = json.load(sys.stdin.buffer)
    fonts = typst.Fonts()
    held = fonts.families()
    if not set(LETTERS[values["letters"][0]]) & set(held):  # those of the others are wanted where a name has them
        sys.stderr.write(f"no font here has {values['letters'][0]} letters; install the package fonts-noto-core\n")
        return 1
    values["fonts"] = [name for letters in values["letters"] for name in LETTERS[letters] if name in held]
    try:
        pdf = typst.compile(
            TEMPLATE, sys_inputs={"data": json.dumps(values)}, font_paths=fonts, pdf_standards=[STANDARD]
        )
    except typst.TypstError as error:
        sys.stderr.write(f"{describe(error)}\n")
        return 1
    sys.stdout.buffer.write(pdf)
    return 0


if __name__ == "__main__":
    sys.exit(main())
