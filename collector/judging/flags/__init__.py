"""Judging: from a reading and a criterion to a verdict, and from verdicts to the state of a flag. Pure."""

__all__ = ["backup", "cause", "gap_facts", "judge", "machine", "witness"]
