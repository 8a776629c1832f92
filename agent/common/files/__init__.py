"""Files as people save them, and whose they are: one way to decode their text, one place that decides the owner,
whether a name still stands for its file, and whether it does after a power cut."""

from agent.common.files.durable import sync_folder, write_atomically
from agent.common.files.file_watch import FileWatch
from agent.common.files.owner import Owner, OwnerError, acting_as, belongs_to_root, foreign_files, service_owner
from agent.common.files.secret import asked_secret, on_command_line
from agent.common.files.text_file import clean, decode, parse_toml, read_text, refused_sign

__all__ = [
    "FileWatch",
    "Owner",
    "OwnerError",
    "acting_as",
    "asked_secret",
    "belongs_to_root",
    "clean",
    "decode",
    "foreign_files",
    "on_command_line",
    "parse_toml",
    "read_text",
    "refused_sign",
    "service_owner",
    "sync_folder",
    "write_atomically",
]
