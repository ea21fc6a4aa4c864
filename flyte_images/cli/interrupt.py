"""Handle Ctrl-C: the first one stops the activity and reports it; the second one ends the process at once.

SIGTERM is handled the same way, so containers and build steps end with this process.
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
    """The current activity of the command, as printed after `stopped: `, and the signal that ended it, if any.

    `events`: stderr carries JSON objects, one a line, so errors are objects too.
    """

    def __init__(self) -> None:
        self.doing = ""
        self.events = False
        self.signal: signal.Signals | None = None

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """Turn the first SIGINT or SIGTERM into KeyboardInterrupt. The next one ends the process."""
        if threading.current_thread() is not threading.main_thread():  # Python handles signals only there
            yield
            return
        before = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            if self.signal is None:  # else threads still run, and a second signal must end the wait for them
                for number, handler in before.items():
                    signal.signal(number, handler)

    @property
    def exit_code(self) -> int:
        """128 + the number of the signal, as in a shell."""
        return 128 + (self.signal or signal.SIGINT)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            self._leave()
        self.signal = signal.Signals(number)
        raise KeyboardInterrupt

    def _leave(self) -> None:
        """End at once. Only os.write is safe here: the streams may be in the middle of a write."""
        text = f"{_SHOW_CURSOR if os.isatty(2) else ''}ended at once; running steps may take a moment longer\n"
        with contextlib.suppress(OSError):
            os.write(2, text.encode())
        os._exit(self.exit_code)

    def report(self) -> None:
        """Print the activity that was stopped."""
        text = f"stopped: {self.doing or 'nothing had begun'}"
        if self.events:
            import json

            text = json.dumps({"event": "stopped", "text": self.doing or "nothing had begun"})
        with contextlib.suppress(OSError, ValueError):
            print(visible(text), file=sys.stderr, flush=True)
