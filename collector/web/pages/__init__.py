"""The pages for people, one module each."""

__all__ = ["approvals", "centers", "test_now"]
