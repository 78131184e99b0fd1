"""What happens to a month after its close: corrections on later invoices, supplements, voids with credit notes."""

__all__ = ["adopting", "closed", "corrections", "supplement", "supplementing", "voiding"]
