"""Access: accounts of people, enrolment, passwords, devices, the certificate authority and its certificates."""

"""Access: enrolment, people and their passwords, devices and who of them floods, the certificate authority and its
certificates."""

__all__ = [
    "accounts",
    "acl",
    "approvals",
    "atomic_files",
    "beacons",
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
