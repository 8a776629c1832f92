"""Newer programs beside the installed one: which of them runs, on trial or proven, and how it is started."""

__all__ = ["launch", "trial", "version"]
