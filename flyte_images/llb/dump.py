"""A Definition -> text for people, JSON for programs, dot for pictures. Pure.

All three forms show the inputs of a step by name and number, not by digest alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from google.protobuf.message import Message

from flyte_images_runtime.system.platform import Platform

from .definition import Definition
from .pb import ops_pb2
from .state import digest as digest_of

_SHOWN = 200  # bytes of a file's content
_MEANINGFUL_ZEROS = frozenset({"input", "secondaryInput", "output", "timestamp", "mode", "network"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    number: int  # from 1; 0 is scratch
    digest: str
    name: str
    op: ops_pb2.Op
    inputs: tuple[int, ...]
    metadata: ops_pb2.OpMetadata
    locations: tuple[str, ...]


def to_text(definition: Definition) -> str:
    """Return one block of text per step, each after its inputs; the last line names the result."""
    steps = _steps(definition)
    by_digest = {step.digest: step for step in steps}
    blocks = [_block(step, by_digest) for step in steps]
    head = by_digest[definition.head]
    return "\n".join([*blocks, f"result: {_reference(head, definition.index)}", ""])


def to_json(definition: Definition) -> str:
    """Return a JSON document: `ops` with the fields of BuildKit's messages and with digests, and `head`."""
    ops = [
        {
            "digest": step.digest,
            "name": step.name,
            "op": _fields(step.op),
            "metadata": _fields(step.metadata),
            "locations": step.locations,
        }
        for step in _steps(definition)
    ]
    document = {"ops": ops, "head": {"digest": definition.head, "index": definition.index}}
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def to_dot(definition: Definition) -> str:
    """Return a graph for Graphviz: an arrow points from each input to the step that reads the input."""
    steps = _steps(definition)
    lines = ["digraph llb {", "  rankdir=LR;", "  node [shape=box];"]
    for step in steps:
        shape = ", shape=ellipse" if _kind(step.op) == "source" else ""
        lines.append(f"  {step.number} [label={_quoted(step.name)}{shape}];")
    for step in steps:
        lines += [f"  {number} -> {step.number};" for number in dict.fromkeys(step.inputs)]
    head = next(step for step in steps if step.digest == definition.head)
    lines += ["  result [shape=doubleoctagon];", f"  {head.number} -> result;", "}", ""]
    return "\n".join(lines)


def _steps(definition: Definition) -> list[_Step]:
    message = definition.to_pb()
    numbers = {digest: number for number, digest in enumerate(definition.digests, start=1)}
    steps = []
    for digest, data in zip(definition.digests, definition.ops, strict=True):
        op = ops_pb2.Op.FromString(data)
        metadata = message.metadata[digest]
        lines = message.Source.locations[digest].locations
        steps.append(
            _Step(
                number=numbers[digest],
                digest=digest,
                name=_line(metadata.description.get("llb.customname") or _name(op)),
                op=op,
                inputs=tuple(numbers[item.digest] for item in op.inputs),
                metadata=metadata,
                locations=tuple(
                    f"{message.Source.infos[line.sourceIndex].filename}:{line.ranges[0].start.line}"
                    for line in lines
                    if line.ranges
                ),
            )
        )
    return steps


def _block(step: _Step, steps: Mapping[str, _Step]) -> str:
    lines = [f"#{step.number} {step.name}", f"  {step.digest}"]
    lines += [f"  at {location}" for location in step.locations]
    if step.metadata.HasField("progress_group"):
        lines.append(f"  group {step.metadata.progress_group.name}")
    if step.metadata.ignore_cache:
        lines.append("  ignores the cache")
    reads = [_reference(steps[edge.digest], edge.index) for edge in step.op.inputs]
    lines += [f"  reads {read}" for read in reads]
    platform = Platform(step.op.platform.OS, step.op.platform.Architecture, step.op.platform.Variant)
    lines.append(f"  {_kind(step.op)} {platform}".rstrip())
    lines += [f"    {line}" for line in _lines(_fields(getattr(step.op, _kind(step.op)), _names(reads)))]
    return "\n".join(lines) + "\n"


def _names(reads: Sequence[str]) -> Callable[[int], str]:
    """Return a function that names a step's input by its index; results of the step's actions follow the inputs."""

    def name(index: int) -> str:
        if index < 0:
            return "nothing"
        return reads[index] if index < len(reads) else f"the result of action {index - len(reads) + 1}"

    return name


def _reference(step: _Step, index: int) -> str:
    return f"#{step.number} {step.name}" + (f" (output {index})" if index else "")


def _kind(op: ops_pb2.Op) -> str:
    return op.WhichOneof("op") or "nothing"


def _line(text: str) -> str:
    first, *more = text.splitlines() or [""]
    return f"{first} ..." if more else first


def _name(op: ops_pb2.Op) -> str:
    """Return a short description of a step that has no name."""
    match op.WhichOneof("op"):
        case "source":
            return op.source.identifier
        case "exec":
            return " ".join(op.exec.meta.args)
        case "file":
            return ", ".join(_action_name(action) for action in op.file.actions)
        case kind:
            return str(kind)


def _action_name(action: ops_pb2.FileAction) -> str:
    match action.WhichOneof("action"):
        case "copy":
            return f"copy {action.copy.src} {action.copy.dest}"
        case None:
            return "nothing"
        case kind:
            return f"{kind} {getattr(action, kind).path}"


def _fields(message: Message, name: Callable[[int], str] | None = None) -> dict[str, object]:
    """Return a message's fields as plain values: fields that are set, and fields for which 0 is meaningful.

    `name` returns the name of an input for its index.
    """
    fields: dict[str, object] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if isinstance(value, Mapping):
            if value:
                fields[field.name] = dict(sorted(value.items()))
        elif isinstance(value, Message):
            if message.HasField(field.name):
                fields[field.name] = _fields(value, name)
        elif isinstance(value, bytes):
            fields[field.name] = _content(value)
        elif isinstance(value, Sequence) and not isinstance(value, str):
            if value:
                fields[field.name] = [_fields(item, name) if isinstance(item, Message) else item for item in value]
        elif isinstance(value, int) and name and field.name in ("input", "secondaryInput"):
            fields[field.name] = name(value)
        elif isinstance(value, int) and field.enum_type is not None:
            if value or field.name in _MEANINGFUL_ZEROS:
                fields[field.name] = field.enum_type.values_by_number[value].name
        elif isinstance(value, int) and field.name == "mode" and value > 0:
            fields[field.name] = f"0{value:o}"
        elif value or field.name in _MEANINGFUL_ZEROS:
            fields[field.name] = value
    return fields


def _content(data: bytes) -> str:
    """Return a file's text; of a longer file or one that is not text, the beginning, the size and the digest."""
    text = data[:_SHOWN].decode(errors="replace")
    return text if data == text.encode() else f"{text}... ({len(data)} bytes, {digest_of(data)})"


def _lines(value: object, indent: str = "") -> Iterator[str]:
    """Yield `key: value` lines, nested by indentation; a list of plain values is one line."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _entry(f"{indent}{key}:", item, indent)
    elif isinstance(value, list):
        for item in value:
            first, *more = _lines(item, indent + "  ")
            yield f"{indent}- {first.lstrip()}"
            yield from more


def _entry(key: str, item: object, indent: str) -> Iterator[str]:
    if isinstance(item, dict) or (isinstance(item, list) and item and isinstance(item[0], dict)):
        yield key
        yield from _lines(item, indent + "  ")
    else:
        yield f"{key} {json.dumps(item, ensure_ascii=False)}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
