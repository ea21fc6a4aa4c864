"""-v and -vv -> lines of the logger `flyte_images` on stderr, without the values of secrets and logins."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from logging import LogRecord

    from flyte_images_runtime.task.redaction import Redactor

    from .interrupt import Activity

_SECRET = re.compile(r"(?i)password|passwd|token|secret|credential|auth|key|login|_pat$")


def redactor(environ: Mapping[str, str]) -> Redactor:
    """Return the redactor for the values of variables whose names speak of secrets, and for logins in addresses."""
    from flyte_images_runtime.task.redaction import redactor_of

    values = [value for name, value in environ.items() if _SECRET.search(name)]
    for value in environ.values():
        for login in re.findall(r"//([^/@\s]+)@", value):
            values += [login, *login.split(":")]
    return redactor_of(tuple(values))


def configure(count: int, activity: Activity) -> None:
    """Send the log to stderr: with `count` 1 what takes long, with 2 every request to an engine too."""
    import json
    import logging

    from flyte_images_runtime.system.diagnostics import DEBUG, INFO, LOGGER, without_logins

    from ..progress.status_line import say

    remove = redactor(os.environ)

    class Handler(logging.Handler):
        def emit(self, record: LogRecord) -> None:
            text = remove(without_logins(record.getMessage()))
            if activity.events:
                text = json.dumps({"event": "debug", "time": round(record.created, 3), "text": text})
            say(text)

    logger = logging.getLogger(LOGGER)
    for handler in [handler for handler in logger.handlers if type(handler).__name__ == Handler.__name__]:
        logger.removeHandler(handler)  # of an earlier command of this process
    logger.addHandler(Handler())
    logger.setLevel(INFO if count == 1 else DEBUG)
    logger.propagate = False


def _callback(ctx: click.Context, param: click.Parameter, count: int) -> None:
    if count:
        configure(count, ctx.find_root().obj)


def verbose_option() -> click.Option:
    """Return the option -v, which each verb takes."""
    return click.Option(
        ["-v", "--verbose"],
        count=True,
        expose_value=False,
        callback=_callback,
        help="Log what is asked of engines, uv and registries, and how long each took; -vv: every request.",
    )
