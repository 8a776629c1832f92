"""The pages for people, one module each."""

__all__ = ["approvals", "backups", "centers", "test_now"]
