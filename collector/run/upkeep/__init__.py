"""Work on what is kept, at its times: backups and drills, verification by night, sums, months, and what is let go."""

__all__ = ["backups", "jobs", "tasks", "worker"]
