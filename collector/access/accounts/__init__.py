"""Accounts: roles, scopes and the table of who may do what; sessions, second proofs, keys, contacts, the log."""

__all__ = [
    "activity",
    "api_keys",
    "contacts",
    "directory",
    "erasure",
    "oidc",
    "passkeys",
    "policy",
    "push_devices",
    "second_factors",
    "sessions",
]
