"""Ctrl-C: the first one stops what is going on and says what that was; a second one leaves at once.

A termination signal is taken in the same way: containers and build steps of ours are ended, whoever wants us to end.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

from flyte_images_runtime.portable.visible import visible

_SHOW_CURSOR = "\x1b[?25h"  # live bars hide it


class Activity:
    """What the command is doing, in words that fit behind `stopped: `; the signal that ended it, if one did.

    `events`: stderr is for a program, one JSON object a line, so errors are objects too.
    """

    def __init__(self) -> None:
        self.doing = ""
        self.events = False
        self.signal: signal.Signals | None = None

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Turn the first SIGINT or SIGTERM into KeyboardInterrupt, and the next into the end of the process."""
        if threading.current_thread() is not threading.main_thread():  # only there signals can be handled
            yield
            return
        before = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            if self.signal is None:  # else the interpreter still waits for threads: a second one has to end that too
                for number, handler in before.items():
                    signal.signal(number, handler)

    @property
    def exit_code(self) -> int:
        """128 + the signal's number, as a shell has it."""
        return 128 + (self.signal or signal.SIGINT)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            self._leave()
        self.signal = signal.Signals(number)
        raise KeyboardInterrupt

    def _leave(self) -> None:
        """End without waiting for anything. Only os.write is safe here: the streams may be in the middle of a write."""
        text = f"{_SHOW_CURSOR if os.isatty(2) else ''}left at once; what was running may go on for a moment\n"
        with contextlib.suppress(OSError):
            os.write(2, text.encode())
        os._exit(self.exit_code)

    def report(self) -> None:
        """Say what was stopped."""
        what = self.doing or "nothing had begun"
        text = f"stopped: {what}"
        if self.events:
            import json

            text = json.dumps({"event": "stopped", "text": what})
        with contextlib.suppress(OSError, ValueError):
            print(visible(text), file=sys.stderr, flush=True)
