"""The program inside the image: standard library only, syntax of Python 3.8, without output on stdout and stderr."""
