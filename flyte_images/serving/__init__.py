"""What this client hands to BuildKit: files, downloads, host settings."""
