"""What this machine provides for tasks: process identities, users, private directories, mounts, atomic files."""
