"""Disputes of operators about a month, a day or a criterion: filed in time, tested before a witness, decided."""

__all__ = ["dispute", "records", "witnessed"]
