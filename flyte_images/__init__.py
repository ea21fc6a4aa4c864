"""Images described in Python, built as a content-addressed BuildKit graph; tasks that run in them under limits."""

__version__ = "0.1.0"
