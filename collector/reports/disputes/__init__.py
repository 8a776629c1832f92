"""Disputes of operators about a month, a day or a criterion: filed in time, with files; tested before a witness;
decided."""

__all__ = ["attachments", "dispute", "records", "witnessed"]
