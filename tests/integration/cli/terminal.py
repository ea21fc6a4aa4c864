"""The command line on a new terminal: typed text and the screen."""

from __future__ import annotations

import fcntl
import os
import re
import select
import struct
import subprocess
import termios
import time

from .conftest import PROGRAM, Shell

_PATIENCE = 120.0


class Terminal:
    """`flyte-images ARGS` (or `program` ARGS) on a new terminal, in a new session."""

    def __init__(
        self, shell: Shell, *args: str, program: tuple[str, ...] = PROGRAM, rows: int = 40, columns: int = 120
    ) -> None:
        self._far, near = os.openpty()
        self._seen = b""
        self._at = 0
        self.resize(rows, columns)
        env = {key: value for key, value in shell.environ({"TERM": "xterm"}).items() if key not in ("CI", "NO_COLOR")}
        self.process = subprocess.Popen(
            ("setsid", "--ctty", *program, *args),
            cwd=shell.folder,
            env=env,
            stdin=near,
            stdout=near,
            stderr=near,
        )
        self._near = near  # held, so that its settings can be looked at when the program has ended

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._far, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self._far, text.encode())

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Read until something new matches."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            text = self._seen[self._at :].decode(errors="replace")
            if found := re.search(pattern, text):
                self._at += len(text[: found.end()].encode())
                return found
            assert time.monotonic() < deadline and self._read(), f"no `{pattern}` in {text!r}"

    def end(self) -> int:
        """Wait for the end, read the remaining output, and return the exit status."""
        status = self.process.wait(_PATIENCE)
        while select.select([self._far], [], [], 0)[0] and self._read():
            pass
        return status

    def _read(self) -> bool:
        """Return False if the program has ended and all output is read."""
        ended = self.process.poll() is not None
        if select.select([self._far], [], [], 0.2)[0]:
            self._seen += os.read(self._far, 1 << 16)
            return True
        return not ended

    @property
    def text(self) -> str:
        return self._seen.decode(errors="replace")

    @property
    def settings(self) -> list[object]:
        """Return the settings of the terminal: raw mode and others."""
        return list(termios.tcgetattr(self._near))

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._near)
        os.close(self._far)
