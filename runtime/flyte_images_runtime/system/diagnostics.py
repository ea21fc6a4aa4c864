"""Log requests to other programs and services, and how long each took, to the logger `flyte_images`.

`INFO` is for requests that take long, `DEBUG` for all. Nothing is logged, and `logging` is not imported, unless the
process has imported it: without that no handler can be set. No message holds the value of a secret or a login: callers
name hosts and counts, never addresses with logins, headers, environments or contents.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any

LOGGER = "flyte_images"
DEBUG, INFO = 10, 20  # the numbers of `logging`


def log(message: str, *values: object, level: int = INFO) -> None:
    """Log `message % values` unless nobody listens.

    >>> log("asking %s", "uv")  # does nothing: logging is not configured
    """
    logger = _listening(level)
    if logger is not None:
        logger.log(level, "%s", without_logins(message % values))


@contextlib.contextmanager
def timed(message: str, *values: object, level: int = INFO) -> Iterator[None]:
    """Log `message % values` at the beginning, and at the end how long it took or how it failed."""
    logger = _listening(level)
    if logger is None:
        yield
        return
    text, began = without_logins(message % values), time.monotonic()
    logger.log(level, "%s ...", text)
    try:
        yield
    except BaseException as error:
        logger.log(level, "%s: %s after %.3f s", text, type(error).__name__, time.monotonic() - began)
        raise
    logger.log(level, "%s: done in %.3f s", text, time.monotonic() - began)


def without_logins(text: str) -> str:
    """Return the text without logins in addresses.

    >>> without_logins("GET https://ada:sesame@index.test/simple")
    'GET https://***@index.test/simple'
    """
    import re

    return re.sub(r"(?<=//)[^/@\s]+@", "***@", text)


def is_logged(level: int = INFO) -> bool:
    """Return whether somebody listens to messages of that level."""
    return _listening(level) is not None


def _listening(level: int) -> Any:
    logging = sys.modules.get("logging")
    if logging is None:
        return None
    logger = logging.getLogger(LOGGER)
    return logger if logger.isEnabledFor(level) else None
