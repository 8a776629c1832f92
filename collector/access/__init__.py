"""Access: accounts of people, enrolment, passwords, devices, the certificate authority and its certificates."""

__all__ = [
    "accounts",
    "acl",
    "approvals",
    "atomic_files",
    "ca",
    "devices",
    "enrolment",
    "passwords",
    "people",
    "server_certs",
    "signing_key",
    "tls",
    "users",
]
