"""Containers without a daemon: an image's files, a configuration, and runc or crun. For root, on Linux."""
