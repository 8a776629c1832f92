"""Access: enrolment, people and their passwords, devices and who of them floods, the certificate authority and its
certificates."""

__all__ = [
    "acl",
    "approvals",
    "atomic_files",
    "ca",
    "devices",
    "enrolment",
    "floods",
    "passwords",
    "people",
    "server_certs",
    "signing_key",
    "tls",
    "users",
]
