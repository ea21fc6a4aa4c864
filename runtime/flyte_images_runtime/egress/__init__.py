"""How far a task reaches: names that a proxy connects it to, and addresses that its network namespace refuses."""

from __future__ import annotations
