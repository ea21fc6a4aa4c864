"""Collect what describe_sdist.py wrote, where no code of the package runs: regular files of a bounded size.

collect_metadata.py OUTPUT INPUT

writes OUTPUT/answer, JSON: {"metadata": text or null, "requires": list of strings}.
"""

from __future__ import annotations

import json
import os
import stat
import sys

LARGEST = 4 << 20  # bytes


def text(path: str) -> str | None:
    """The text of a file; None if there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode) or about.st_size > LARGEST:
            sys.exit("%s is not a file of at most %d bytes" % (os.path.basename(path), LARGEST))
        return file.read(LARGEST).decode("utf-8", "replace")


def main(arguments: list[str]) -> None:
    output, folder = arguments
    requires = json.loads(text(folder + "/requires") or "[]")
    if not isinstance(requires, list) or not all(isinstance(it, str) for it in requires):
        sys.exit("what the build wants is not a list of requirements")
    with open(output + "/answer", "w", encoding="utf-8") as file:
        json.dump({"metadata": text(folder + "/METADATA"), "requires": requires}, file)


if __name__ == "__main__":
    main(sys.argv[1:])
