"""A month's report as a signed PDF: the page of `render`, laid out by typst. Needs the extra `reports`."""

__all__ = ["document", "pades"]
