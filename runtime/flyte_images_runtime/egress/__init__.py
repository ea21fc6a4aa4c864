"""How far a task reaches: names that it may ask a proxy for, and addresses that its network namespace refuses."""

from __future__ import annotations
