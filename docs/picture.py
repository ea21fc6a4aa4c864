"""What a terminal shows (stdin, with its escape sequences) -> an SVG (stdout), as in README.md.

tmux capture-pane -e -p | python docs/picture.py 96 > docs/build.svg
"""

from __future__ import annotations

import io
import sys

from rich.console import Console
from rich.text import Text

# rich's own template fetches fonts from the network.
FORMAT = """\
<svg viewBox="0 0 {terminal_width} {terminal_height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px; }}
{styles}
</style>
<defs>{lines}</defs>
<rect fill="#1c1f24" width="{terminal_width}" height="{terminal_height}" rx="6"/>
<g transform="translate(9, 8)">{backgrounds}<g class="{unique_id}-matrix">{matrix}</g></g>
</svg>
"""


def main() -> None:
    """Draw stdin."""
    lines = sys.stdin.read().rstrip().splitlines()
    width = int(sys.argv[1])
    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for line in [*lines, ""]:
        console.print(Text.from_ansi(line), no_wrap=True, crop=True)
    print(console.export_svg(code_format=FORMAT, unique_id="t"))


if __name__ == "__main__":
    main()
