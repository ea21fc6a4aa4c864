"""Package names -> exact files, known by hash."""
