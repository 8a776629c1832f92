"""A center's month checked against the signed bytes: derived anew from them, and compared with what is stored."""

__all__ = ["bundle", "nightly", "processes", "recorded", "verified_days", "verify"]
