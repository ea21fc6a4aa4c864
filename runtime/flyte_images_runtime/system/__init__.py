"""What this machine has for tasks: process identities, users, private directories, mounts, atomic files."""
