"""What runs inside the image: standard library only, syntax of Python 3.8, nothing of its own on stdout or stderr."""
