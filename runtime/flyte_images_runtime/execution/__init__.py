"""One run from its start to its end, and the containers, shells and tools around it."""
