"""`commands`: commands that run on the layers before them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from .base import Layer, Resolved
from .canonical import decoration, optional
from .errors import LayerError
from .record import record
from .steps import RunCommand, SecretMount, Step, StepLimits


@record(kw_only=True)
class Commands(Layer):
    """Each command is a shell command (a string, run by `/bin/sh -ec`) or an argv (a tuple or list of strings).

    Commands run one after the other as root, with network, in the image's work directory and environment, and see the
    mounted secrets. A command is ended when it passes a limit; no digest covers the limits.

    >>> [step.argv for step in Commands(commands=("echo hi", ["touch", "/a b"])).lower(Resolved())]
    [('/bin/sh', '-ec', 'echo hi'), ('touch', '/a b')]
    """

    kind: ClassVar[str] = "commands"
    examples: ClassVar[Sequence[Layer]] = ()

    commands: tuple[str | tuple[str, ...], ...]
    secret_mounts: tuple[SecretMount, ...] = optional(())
    limits: StepLimits = decoration(StepLimits())

    def __post_init__(self) -> None:
        if isinstance(self.commands, str) or not isinstance(self.commands, (list, tuple)):
            raise LayerError(
                f"with_commands takes a list of commands, not {type(self.commands).__name__}: {self.commands!r}",
                hint='with_commands(["apt-get --version", ["touch", "/marker"]])',
            )
        if not self.commands:
            raise LayerError("with_commands was given no command", hint="name at least one, or leave the call out")
        object.__setattr__(self, "commands", tuple(_command(item) for item in self.commands))

    @property
    def title(self) -> str:
        first = self.commands[0] if isinstance(self.commands[0], str) else " ".join(self.commands[0])
        more = f" (+{len(self.commands) - 1} more)" if len(self.commands) > 1 else ""
        return first.splitlines()[0][:60] + more

    def lower(self, resolved: Resolved) -> tuple[Step, ...]:
        return tuple(
            RunCommand(
                argv=("/bin/sh", "-ec", item) if isinstance(item, str) else item,
                secrets=self.secret_mounts,
                limits=self.limits,
            )
            for item in self.commands
        )


def _command(item: object) -> str | tuple[str, ...]:
    if isinstance(item, str) and item.strip() and "\0" not in item:
        return item
    if isinstance(item, (list, tuple)) and item and all(isinstance(x, str) and "\0" not in x for x in item):
        return tuple(item)
    raise LayerError(f"{item!r} is not a command", hint="a shell command as a string, or an argv as a list of strings")


Commands.examples = (Commands(commands=("useradd --create-home app", ("touch", "/opt/a b"))),)
