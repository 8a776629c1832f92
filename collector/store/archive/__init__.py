"""Days that are over go from the tables into the archive's files, and out of them when something more of them comes."""

__all__ = ["pack", "remove", "status", "thaw"]
