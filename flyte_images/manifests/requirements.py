"""requirements.txt, in pip's format -> PackageList. A line that an image cannot honor is an error with its number."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from flyte_images_layers import LayerError
from flyte_images_layers.pip import PipOptions, canonical_name, parse_options, requirement

from . import PackageList
from .reading import read_text

_HASH = re.compile(r"\s+--hash[= ](\S+)")
_LOCAL = re.compile(r"\.{0,2}/|[A-Za-z]:\\|file:")


def read(path: str) -> PackageList:
    """Return the list of the file at `path` and the files that it includes. Raise LayerError with file and line."""
    collector = _Collector()
    collector.file(path, constraints=False, above=())
    return collector.package_list()


def parse(text: str, file_name: str) -> PackageList:
    """Return the list of a text without includes; errors call the text `file_name`."""
    collector = _Collector()
    collector.text(text, file_name, "", constraints=False, above=())
    return collector.package_list()


@dataclass
class _Collector:
    """The lines of a file and of the files that it includes."""

    packages: list[str] = field(default_factory=list)
    constraints: list[str] = field(default_factory=list)
    hashes: dict[str, list[str]] = field(default_factory=dict)
    options: PipOptions = field(default_factory=PipOptions)

    def package_list(self) -> PackageList:
        return PackageList(
            packages=tuple(self.packages),
            constraints=tuple(self.constraints),
            hashes=tuple((name, tuple(sorted(several))) for name, several in sorted(self.hashes.items())),
            index_url=self.options.index_url,
            extra_index_urls=self.options.extra_index_urls,
            pre=self.options.pre,
            no_binary=self.options.no_binary,
        )

    def file(self, path: str, *, constraints: bool, above: tuple[str, ...]) -> None:
        path = os.path.abspath(path)  # noqa: PTH100 - a string, as in layers
        file_name = os.path.basename(path)  # noqa: PTH119
        if path in above:
            raise LayerError(f"`{file_name}` includes itself")
        self.text(read_text(path), file_name, os.path.dirname(path), constraints=constraints, above=(*above, path))  # noqa: PTH120

    def text(self, text: str, file_name: str, folder: str, *, constraints: bool, above: tuple[str, ...]) -> None:
        for number, line in _lines(text):
            try:
                self._line(line, folder, constraints, above)
            except LayerError as error:
                place = f"`{file_name}` line"
                message = str(error) if str(error).startswith(place) else f"{place} {number}: {error}"
                raise LayerError(message, hint=error.hint) from None

    def _line(self, line: str, folder: str, constraints: bool, above: tuple[str, ...]) -> None:
        if re.search(r"\$\{[A-Z0-9_]+\}", line):
            raise LayerError(f"`{line}` uses an environment variable", hint="write its value")
        include = re.match(r"(-r|--requirement|-c|--constraint)(?:[ =]\s*|(?<=-[rc]))(\S.*)", line)
        if include:
            as_constraints = constraints or include[1] in ("-c", "--constraint")
            self.file(os.path.join(folder, include[2]), constraints=as_constraints, above=above)  # noqa: PTH118
        elif re.match(r"-e\b|--editable\b", line) or _LOCAL.match(line):
            raise LayerError(
                f"`{line}` is a folder or file on this machine",
                hint="add its code with with_source_folder and with_env_vars({'PYTHONPATH': ...}), "
                "or serve a wheel of it from an index",
            )
        elif line == "--require-hashes":
            pass  # hashes are always required of a package that has some
        elif line.startswith("-"):
            self.options = _combined(self.options, parse_options(line))
        else:
            self._requirement(line, constraints)

    def _requirement(self, line: str, constraints: bool) -> None:
        text = requirement(_HASH.sub("", line).strip())
        (self.constraints if constraints else self.packages).append(text)
        hashes = _HASH.findall(line)
        if not hashes:
            return
        valid = [value.removeprefix("sha256:") for value in hashes if re.fullmatch(r"sha256:[0-9a-f]{64}", value)]
        if not valid:
            raise LayerError(f"`{text}` has no sha256 among its hashes", hint="indexes publish sha256")
        match = re.match(r"[A-Za-z0-9._-]+", text)
        name = canonical_name(match[0] if match else text)
        self.hashes.setdefault(name, []).extend(sha256 for sha256 in valid if sha256 not in self.hashes.get(name, []))


def _combined(first: PipOptions, more: PipOptions) -> PipOptions:
    """Return both; the index of `more` replaces that of `first`."""
    return PipOptions(
        index_url=more.index_url or first.index_url,
        extra_index_urls=(*first.extra_index_urls, *more.extra_index_urls),
        pre=first.pre or more.pre,
        no_binary=(*first.no_binary, *more.no_binary),
    )


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield logical lines without comments: the number of the first line, and the text with its continuations."""
    pending, first = "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        first = first if pending else number
        line = f"{pending} {raw.strip()}" if pending else raw.rstrip()
        if line.endswith("\\") and not re.match(r"\s*#", raw):
            pending = line[:-1].rstrip()
            continue
        pending = ""
        line = re.sub(r"(^|\s+)#.*$", "", line).strip()
        if line:
            yield first, line
    if pending.strip():
        yield first, pending.strip()
