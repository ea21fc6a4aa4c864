"""A task becomes a run: one call, warm, nested, map, artifacts, run logs, history."""
