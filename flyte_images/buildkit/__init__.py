"""Talking to BuildKit: where it is, what it can do, and solving a graph there."""
