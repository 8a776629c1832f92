"""Newer programs beside the installed one: which of them runs, on trial or proven, how it starts, and who signed it."""

__all__ = ["launch", "signers", "trial", "version"]
