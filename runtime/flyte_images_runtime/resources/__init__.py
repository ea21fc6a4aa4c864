"""What a task asks for: CPU, memory, GPUs, exact and checked."""
