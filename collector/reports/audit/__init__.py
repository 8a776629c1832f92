"""A month checked against the signed bytes: derived anew from them and compared; what a draft standard would change."""

__all__ = [
    "bundle",
    "nightly",
    "processes",
    "recorded",
    "trial",
    "verified_days",
    "verify",
]
