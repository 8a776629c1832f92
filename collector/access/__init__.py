"""Access: enrolment, people and their passwords, devices, the certificate authority and its certificates."""

__all__ = [
    "acl",
    "approvals",
    "atomic_files",
    "beacons",
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
