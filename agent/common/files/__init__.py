"""Files as people save them: one way to decode their text, for settings, keys, standards and the register."""

from agent.common.files.text_file import clean, decode, parse_toml, read_text, refused_sign

__all__ = ["clean", "decode", "parse_toml", "read_text", "refused_sign"]
