"""Containers without a daemon: an image's files, a configuration, and an OCI runtime. For root and for others."""
