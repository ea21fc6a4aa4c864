"""The resources of a task: CPU, memory, GPUs; requests, limits and metrics, exact and checked."""
