"""`env_vars`: environment variables of the image. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from .base import Layer, Resolved
from .errors import LayerError
from .record import record
from .steps import SetEnv, Step

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@record(kw_only=True)
class EnvVars(Layer):
    """Variables by name. Values stay as they are, with spaces, quotes, `$` and newlines.

    >>> EnvVars(variables={"B": "2", "A": "a $b"}).variables
    (('A', 'a $b'), ('B', '2'))
    """

    kind: ClassVar[str] = "env_vars"
    examples: ClassVar[Sequence[Layer]] = ()

    variables: Any  # a mapping as an argument, sorted pairs as an attribute

    def __post_init__(self) -> None:
        is_sorted = isinstance(self.variables, tuple) and all(isinstance(pair, tuple) for pair in self.variables)
        if not is_sorted and not isinstance(self.variables, Mapping):
            raise LayerError(
                f"with_env_vars takes a mapping, not {type(self.variables).__name__}: {self.variables!r}",
                hint='with_env_vars({"NAME": "value"})',
            )
        pairs = dict(self.variables)
        for name, value in pairs.items():
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                raise LayerError(f"`{name}` is not the name of an environment variable", hint="letters, digits and `_`")
            if not isinstance(value, str):
                raise LayerError(
                    f"the value of `{name}` is {type(value).__name__}, not a string: {value!r}",
                    hint=f'write {{"{name}": "{value}"}}',
                )
            if "\0" in value:
                raise LayerError(f"the value of `{name}` holds a NUL byte")
        object.__setattr__(self, "variables", tuple(sorted(pairs.items())))

    @property
    def title(self) -> str:
        return "environment " + ", ".join(name for name, _ in self.variables)

    def lower(self, resolved: Resolved) -> tuple[Step, ...]:
        return (SetEnv(variables=self.variables),) if self.variables else ()


EnvVars.examples = (EnvVars(variables={"MODE": "test run", "PRICE": "$5"}),)
