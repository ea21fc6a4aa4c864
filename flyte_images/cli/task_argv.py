"""Split the words of `flyte-images run` into its own options and the task's arguments, and parse the arguments.

Before TASK, all options are options of `flyte-images run`. After TASK, a word that names a parameter of the task is an
argument, even if an option has the same name; other words that name options are options. After `--`, all words are
values of `*args`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from flyte_images_runtime.portable.suggest import did_you_mean

from ..errors import SpecError

if TYPE_CHECKING:
    from flyte_images_runtime.values.cli_args import Parameter


def front(words: Sequence[str], options: Mapping[str, bool], count: int) -> tuple[list[str], list[str], list[str]]:
    """Split off the options and the first `count` other words. Return options with values, the other words, the rest.

    `options`: by name, True for an option that takes a value.

    >>> front(["--json", "app.py", "--env", "A=1", "train", "--json"], {"--json": False, "--env": True}, 2)
    (['--json', '--env', 'A=1'], ['app.py', 'train'], ['--json'])
    """
    own: list[str] = []
    others: list[str] = []
    rest = list(words)
    while rest and len(others) < count:
        word = rest.pop(0)
        if not word.startswith("-") or word == "-":
            others.append(word)
            continue
        own.append(word)
        if options.get(word) and rest:
            own.append(rest.pop(0))
    return own, others, rest


def split(
    words: Sequence[str], options: Mapping[str, bool], parameters: Sequence[Parameter]
) -> tuple[list[str], list[str]]:
    """Split the words after TASK. Return the options of `flyte-images run`, and the arguments of the task.

    >>> from flyte_images_runtime.values.cli_args import Parameter
    >>> rows = Parameter(name="rows", type="int", required=True, default=None)
    >>> split(["--rows", "1", "--json", "--env=A=1", "--x", "2"], {"--json": False, "--env": True}, [rows])
    (['--json', '--env=A=1'], ['--rows', '1', '--x', '2'])
    >>> fast = Parameter(name="json", type="bool", required=False, default="False", switch=True)
    >>> split(["--json"], {"--json": False}, [fast])
    ([], ['--json'])
    """
    own: list[str] = []
    arguments: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            return own, [*arguments, word, *rest]
        option, equals, _ = word.partition("=")
        if option in options and not _is_parameter(option, parameters):
            own.append(word)
            if options[option] and not equals and rest:
                own.append(rest.pop(0))
            continue
        arguments.append(word)
        if word.startswith("--") and not equals and rest and not _is_switch(option, parameters):
            arguments.append(rest.pop(0))
    return own, arguments


def _name(option: str) -> str:
    return option.removeprefix("--").replace("-", "_")


def _is_switch(option: str, parameters: Sequence[Parameter]) -> bool:
    names = {parameter.name for parameter in parameters if parameter.switch}
    return _name(option) in names or _name(option).removeprefix("no_") in names


def _is_parameter(option: str, parameters: Sequence[Parameter]) -> bool:
    """Return whether the option names a parameter. A task with **kwargs takes every name."""
    if any(parameter.many and parameter.named for parameter in parameters):
        return option.startswith("--")
    return _name(option) in {parameter.name for parameter in parameters} or _is_switch(option, parameters)


def pairs(arguments: Sequence[str], parameters: Sequence[Parameter]) -> dict[str, str | list[str]]:
    """Parse the arguments of a task. Return the texts by parameter.

    >>> from flyte_images_runtime.values.cli_args import Parameter
    >>> fast = Parameter(name="fast", type="bool", required=False, default="True", switch=True)
    >>> pairs(["--row-count", "10", "--name=a", "--no-fast"], [fast])
    {'row_count': '10', 'name': 'a', 'fast': 'false'}
    """
    switches = {parameter.name for parameter in parameters if parameter.switch}
    rest = next((parameter.name for parameter in parameters if parameter.many and not parameter.named), None)
    given: dict[str, str | list[str]] = {}
    words = list(arguments)
    only_values = False
    while words:
        word = words.pop(0)
        if word == "--" and not only_values:
            only_values = True
            continue
        if only_values or not word.startswith("--"):
            if rest is None:
                raise SpecError(
                    f"`{word}` has no parameter name", hint=f"name the parameter: {_named(word, parameters)}"
                )
            given[rest] = [*given.get(rest, []), word]
            continue
        name, equals, value = word[2:].partition("=")
        name = name.replace("-", "_")
        if not equals:
            if name in switches:
                value = "true"
            elif name.startswith("no_") and name[3:] in switches:
                name, value = name[3:], "false"
            elif not words:
                raise SpecError(f"`{word}` has no value", hint=f"{word} VALUE, or {word}=VALUE")
            else:
                value = words.pop(0)
        given[name] = value
    return given


def check_names(given: Iterable[str], parameters: Sequence[Parameter], options: Iterable[str]) -> None:
    """Raise SpecError for a name that is not a parameter."""
    if any(parameter.many and parameter.named for parameter in parameters):
        return
    known = {parameter.name for parameter in parameters}
    for name in given:
        if name not in known:
            words = [f"--{name.replace('_', '-')}" for name in known] + list(options)
            takes = ", ".join(f"{parameter.name}: {parameter.type}" for parameter in parameters)
            near = did_you_mean(f"--{name.replace('_', '-')}", words)
            listing = f"the parameters are {takes}" if takes else "the task takes no parameters"
            raise SpecError(f"the task has no parameter `{name}`", hint=near or listing)


def _named(word: str, parameters: Sequence[Parameter]) -> str:
    first = next((parameter for parameter in parameters if not parameter.many and not parameter.switch), None)
    return f"--{first.name.replace('_', '-')} {word}" if first else "the task has no parameters"


def arguments_help(parameters: Sequence[Parameter]) -> list[tuple[str, str]]:
    """Return the rows of a help text for the arguments of a task."""
    rows = []
    for parameter in parameters:
        option = f"--{parameter.name.replace('_', '-')}"
        if parameter.many:
            option = "--NAME VALUE ..." if parameter.named else f"{parameter.name.upper()} ..."
        details = [parameter.type if not parameter.choices else "|".join(parameter.choices)]
        details.append(
            "required" if parameter.required else f"default: {parameter.default}" if parameter.default else ""
        )
        rows.append((option, "  ".join(filter(None, details))))
    return rows
