"""A month over all centers: by district, province, provider or owner; as XLSX, CSV and JSON."""

__all__ = ["files", "summary"]
