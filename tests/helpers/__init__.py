"""What tests of several rooms share: ROOT is the repository's folder, whichever folder a test stands in."""

from pathlib import Path

__all__ = ["ROOT"]

ROOT = Path(__file__).parents[2]
