"""A file as an argument, a package in the image, and several tasks at once on an event loop.

flyte-images run examples/words.py count --text README.md
python examples/words.py
"""

import asyncio
from collections import Counter
from pathlib import Path

import flyte_images as flyte

image = flyte.Image.from_debian_base().with_pip_packages("regex").with_env_vars({"LONGEST": "12"})

env = flyte.TaskEnvironment(name="words", image=image, limits=flyte.Resources(cpu="1", mem="256Mi"), timeout=60)


@env.task
def count(text: flyte.File, most: int = 3) -> dict[str, int]:
    """Return the most frequent long words of a file. `regex` is in the image; the caller needs no copy of it."""
    import os

    import regex

    longest = int(os.environ["LONGEST"])
    words = regex.findall(rf"\p{{L}}{{5,{longest}}}", Path(text.path).read_text().lower())
    return dict(Counter(words).most_common(most))


async def main() -> None:
    """Count the words of each README in a container, all at the same time."""
    files = sorted(Path(__file__).parents[1].glob("*/README.md"))
    runs = await asyncio.gather(*(flyte.run.aio(count, flyte.File(str(file))) for file in files))
    for file, run in zip(files, runs, strict=True):
        print(f"{file.parent.name}: {run.result}")


if __name__ == "__main__":
    asyncio.run(main())
