"""requirements.txt, as pip describes the format -> what it asks for. What cannot be honoured is refused by its line."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from flyte_images_layers import LayerError
from flyte_images_layers.pip import Options, canonical_name, options, requirement

from . import Listed
from .reading import text_of

_HASH = re.compile(r"\s+--hash[= ](\S+)")
_LOCAL = re.compile(r"\.{0,2}/|[A-Za-z]:\\|file:")


def read(path: str) -> Listed:
    """Return what the file at `path` asks for, with the files that it includes; raises LayerError by file and line."""
    found = _Found()
    found.file(path, constraints=False, above=())
    return found.listed()


def parse(text: str, shown: str) -> Listed:
    """The same of a text, that of a file without others."""
    found = _Found()
    found.text(text, shown, "", constraints=False, above=())
    return found.listed()


@dataclass
class _Found:
    packages: list[str] = field(default_factory=list)
    constraints: list[str] = field(default_factory=list)
    hashes: dict[str, list[str]] = field(default_factory=dict)
    options: Options = field(default_factory=Options)

    def listed(self) -> Listed:
        return Listed(
            packages=tuple(self.packages),
            constraints=tuple(self.constraints),
            hashes=tuple((name, tuple(sorted(it))) for name, it in sorted(self.hashes.items())),
            index_url=self.options.index_url,
            extra_index_urls=self.options.extra_index_urls,
            pre=self.options.pre,
            no_binary=self.options.no_binary,
        )

    def file(self, path: str, *, constraints: bool, above: tuple[str, ...]) -> None:
        path = os.path.abspath(path)  # noqa: PTH100 - strings all along, as where layers are described
        shown = os.path.basename(path)  # noqa: PTH119
        if path in above:
            raise LayerError(f"`{shown}` includes itself")
        self.text(text_of(path), shown, os.path.dirname(path), constraints=constraints, above=(*above, path))  # noqa: PTH120

    def text(self, text: str, shown: str, folder: str, *, constraints: bool, above: tuple[str, ...]) -> None:
        for number, line in _lines(text):
            try:
                self._line(line, folder, constraints, above)
            except LayerError as error:
                told = str(error) if str(error).startswith(f"`{shown}` line") else f"`{shown}` line {number}: {error}"
                raise LayerError(told, hint=error.hint) from None

    def _line(self, line: str, folder: str, constraints: bool, above: tuple[str, ...]) -> None:
        if re.search(r"\$\{[A-Z0-9_]+\}", line):
            raise LayerError(f"`{line}` asks for a variable of the environment", hint="write what it stands for")
        include = re.match(r"(-r|--requirement|-c|--constraint)(?:[ =]\s*|(?<=-[rc]))(\S.*)", line)
        if include:
            told = constraints or include[1] in ("-c", "--constraint")
            self.file(os.path.join(folder, include[2]), constraints=told, above=above)  # noqa: PTH118
        elif re.match(r"-e\b|--editable\b", line) or _LOCAL.match(line):
            raise LayerError(
                f"`{line}` is a folder or file of this machine",
                hint="with_source_folder brings its code, with_env_vars({'PYTHONPATH': ...}) makes it known; "
                "or serve a wheel of it from an index",
            )
        elif line == "--require-hashes":
            pass  # hashes are required of every package that has some
        elif line.startswith("-"):
            more = options(line)
            self.options = replace_all(self.options, more)
        else:
            self._requirement(line, constraints)

    def _requirement(self, line: str, constraints: bool) -> None:
        text = requirement(_HASH.sub("", line).strip())
        (self.constraints if constraints else self.packages).append(text)
        hashes = _HASH.findall(line)
        if not hashes:
            return
        good = [it.removeprefix("sha256:") for it in hashes if re.fullmatch(r"sha256:[0-9a-f]{64}", it)]
        if not good:
            raise LayerError(f"`{text}` has no sha256 among its hashes", hint="sha256 is what indexes tell")
        match = re.match(r"[A-Za-z0-9._-]+", text)
        name = canonical_name(match[0] if match else text)
        self.hashes.setdefault(name, []).extend(it for it in good if it not in self.hashes.get(name, []))


def replace_all(one: Options, more: Options) -> Options:
    """Both, the later one's index."""
    return Options(
        index_url=more.index_url or one.index_url,
        extra_index_urls=(*one.extra_index_urls, *more.extra_index_urls),
        pre=one.pre or more.pre,
        no_binary=(*one.no_binary, *more.no_binary),
    )


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with what is continued on the next ones, without comments, and the number of their first."""
    begun, first = "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        first = first if begun else number
        line = f"{begun} {raw.strip()}" if begun else raw.rstrip()
        if line.endswith("\\") and not re.match(r"\s*#", raw):
            begun = line[:-1].rstrip()
            continue
        begun = ""
        line = re.sub(r"(^|\s+)#.*$", "", line).strip()
        if line:
            yield first, line
    if begun.strip():
        yield first, begun.strip()
