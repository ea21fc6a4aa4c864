"""Names -> exact files by hash."""
