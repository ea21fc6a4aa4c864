"""A CDI specification as its file has it: the model, and where in the file an error is. Loads pydantic.

`cdi.py` imports this module when a specification is read, so a task without a GPU never pays for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import pydantic
from pydantic.alias_generators import to_camel

_KIND = r"^[A-Za-z][A-Za-z0-9_.-]*/[A-Za-z0-9][A-Za-z0-9_-]*$"


class InvalidDocument(ValueError):
    """A document that is not a CDI specification. `field` is the path to the value, `line` is 0 where unknown."""

    def __init__(self, message: str, *, field: Sequence[str | int] = (), line: int = 0) -> None:
        super().__init__(f"{shown(field)}: {message}" if field else message)
        self.field = tuple(field)
        self.line = line


def _empty_if_null(value: Any) -> Any:
    """YAML writes a list or a table without entries as null."""
    return () if value is None else value


class _Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, alias_generator=to_camel, coerce_numbers_to_str=True)


Texts = Annotated[tuple[str, ...], pydantic.BeforeValidator(_empty_if_null)]
Numbers = Annotated[tuple[int, ...], pydantic.BeforeValidator(_empty_if_null)]


class DeviceNode(_Model):
    """One entry of `deviceNodes`."""

    path: str
    host_path: str | None = None
    permissions: str | None = None
    file_mode: int | None = None
    uid: int | None = None
    gid: int | None = None


class MountEntry(_Model):
    """One entry of `mounts`."""

    host_path: str
    container_path: str
    options: Texts = ()
    type: str | None = None


class HookEntry(_Model):
    """One entry of `hooks`. `timeout` is in seconds."""

    hook_name: str
    path: str
    args: Texts = ()
    env: Texts = ()
    timeout: int | None = None


class ContainerEdits(_Model):
    """What a device changes in a container."""

    env: Texts = ()
    device_nodes: Annotated[tuple[DeviceNode, ...], pydantic.BeforeValidator(_empty_if_null)] = ()
    mounts: Annotated[tuple[MountEntry, ...], pydantic.BeforeValidator(_empty_if_null)] = ()
    hooks: Annotated[tuple[HookEntry, ...], pydantic.BeforeValidator(_empty_if_null)] = ()
    additional_gids: Numbers = ()


def _no_edits(value: Any) -> Any:
    return {} if value is None else value


Edits = Annotated[ContainerEdits, pydantic.BeforeValidator(_no_edits)]


class Device(_Model):
    """One entry of `devices`."""

    name: str
    container_edits: Edits = ContainerEdits()


class Document(_Model):
    """A whole specification, versions 0.3 to 1.0. Fields that this package does not use are passed over."""

    cdi_version: pydantic.StrictStr
    kind: Annotated[str, pydantic.Field(pattern=_KIND)]
    devices: tuple[Device, ...]
    container_edits: Edits = ContainerEdits()


def validate(document: Any) -> Document:
    """Return the document as a model. InvalidDocument names the first field that is wrong, and its value.

    >>> validate({"cdiVersion": "0.6.0", "kind": "acme.com/gpu", "devices": [{"name": 0}]}).devices[0].name
    '0'
    >>> validate({"cdiVersion": "0.6.0", "kind": "acme.com/gpu", "devices": [{"name": "0", "containerEdits": 7}]})
    Traceback (most recent call last):
    flyte_images_runtime.gpu.cdi_document.InvalidDocument: devices[0].containerEdits: Input should be an object, got 7
    """
    if not isinstance(document, Mapping):
        raise InvalidDocument("not a CDI specification: it is not a table of fields")
    try:
        return Document.model_validate(document)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        message = str(first["msg"])
        if first["type"] == "model_type":
            message = "Input should be an object"
        given = "" if first["type"] == "missing" else f", got {json.dumps(first['input'], default=str)[:80]}"
        raise InvalidDocument(message + given, field=first["loc"]) from None


def load(path: Path) -> Document:
    """Return the specification in a file. InvalidDocument names the field and the line, OSError what cannot be read."""
    text = path.read_text(encoding="utf-8")
    try:
        return validate(_parse(text, as_json=path.suffix == ".json"))
    except InvalidDocument as error:
        error.line = error.line or line_of(text, error.field)
        raise


def _parse(text: str, *, as_json: bool) -> Any:
    if as_json:
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            raise InvalidDocument(f"not JSON: {error.msg}", line=error.lineno) from None
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "it cannot be read"
        raise InvalidDocument(f"not YAML: {problem}", line=mark.line + 1 if mark else 0) from None


def line_of(text: str, field: Sequence[str | int]) -> int:
    """Return the line of a field, or of the innermost table around it that the file has; 0 where it is not known.

    JSON is read as YAML, which it is but for unusual white space.

    >>> line_of("kind: a\\ndevices:\\n- name: x\\n", ("devices", 0, "name"))
    3
    """
    import yaml

    line = 0
    with suppress(yaml.YAMLError):
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        for step in field:
            inner = _child(node, step)
            if inner is None:
                break
            line, node = inner
    return line or (1 if field else 0)


def _child(node: Any, step: str | int) -> tuple[int, Any] | None:
    """Return the line and the node of one entry of a table or of a list."""
    import yaml

    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == step:
                return key.start_mark.line + 1, value
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step].start_mark.line + 1, node.value[step]
    return None


def shown(field: Sequence[str | int]) -> str:
    """Return a path to a field as people write it.

    >>> shown(("devices", 0, "containerEdits", "mounts", 1))
    'devices[0].containerEdits.mounts[1]'
    """
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in field).removeprefix(".")
