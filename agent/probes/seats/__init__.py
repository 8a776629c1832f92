"""The seats probe: which seat PCs are known, on, and well."""

__all__ = ["registry", "registry_file"]
