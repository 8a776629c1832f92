"""The pages for people, one module each."""

__all__ = ["approvals", "backups", "centers", "incidents", "test_now"]
