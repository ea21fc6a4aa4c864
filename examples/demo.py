"""The whole product in one run: an image from one line, a task in it under limits, a limit that holds, a second build.

    make demo        or: python examples/demo.py

The first build fetches and installs scikit-learn and pandas. It takes a minute on a slow line, and bars show its steps.
Every printed figure is measured in this run.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

import flyte_images as flyte

image = flyte.Image.from_debian_base().with_pip_packages("pandas", "scikit-learn")

env = flyte.TaskEnvironment(name="ml_env", image=image, limits=flyte.Resources(cpu="2", mem="2Gi"))
small = flyte.TaskEnvironment(name="small_env", image=image, limits=flyte.Resources(cpu="1", mem="256Mi"))


@dataclass
class Score:
    """How well the model recognizes digits that it was not trained on."""

    accuracy: float
    worst_digit: int
    images: int


@env.task
def train(trees: int) -> Score:
    """Train a random forest on scikit-learn's own pictures of digits."""
    import pandas as pd
    from sklearn.datasets import load_digits
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    inputs, test_inputs, labels, test_labels = train_test_split(
        digits.data, digits.target, test_size=0.25, random_state=0
    )
    print(f"training {trees} trees on {len(inputs)} pictures", flush=True)
    model = RandomForestClassifier(n_estimators=trees, n_jobs=2, random_state=0).fit(inputs, labels)
    table = pd.DataFrame({"digit": test_labels, "right": model.predict(test_inputs) == test_labels})
    by_digit = table.groupby("digit")["right"].mean()
    return Score(accuracy=float(table["right"].mean()), worst_digit=int(by_digit.idxmin()), images=len(table))


@small.task
def hog(mebibytes: int) -> int:
    """Allocate more memory than the environment allows."""
    blocks = [bytearray(b"x" * 2**20) for _ in range(mebibytes)]
    return len(blocks)


def main() -> None:
    """Build, train, exceed a limit, build again."""
    title("1. An image with pandas and scikit-learn")
    with flyte.Progress("auto", sys.stderr) as progress:
        built = flyte.build(image, progress=progress)
    print(f"{built.ref}\nin {built.seconds:.1f} s, on {built.base}")

    title("2. A model trained in it, under 2 CPUs and 2 GiB")
    run = flyte.run(train, trees=400)
    print(f"result   {run.result}")
    print(f"used     {used(run.metrics)}")

    title("3. 1 GiB of memory in an environment that has 256 MiB")
    try:
        flyte.run(hog, 1024)
    except flyte.OutOfMemory as error:
        print(f"{type(error).__name__}: {error}\nhint: {error.hint}")
    else:
        sys.exit("the limit did not hold")

    title("4. The same build again")
    began = time.perf_counter()
    again = flyte.build(image)
    print(f"{again.ref}\nin {1000 * (time.perf_counter() - began):.0f} ms, nothing was built")
    if again.digest != built.digest:
        sys.exit("the second build gave another image")


def title(text: str) -> None:
    """Print a heading."""
    print(f"\n{text}\n{'-' * len(text)}", flush=True)


def used(metrics: flyte.Metrics) -> str:
    """Return a line with what the task used, without figures that this kernel does not report."""
    figures = {
        "{:.1f} s": metrics.wall,
        "{:.1f} s of CPU time": metrics.cpu,
        "{:.0f} MiB at its peak": metrics.peak_memory and metrics.peak_memory / 2**20,
    }
    return ", ".join(text.format(figure) for text, figure in figures.items() if figure is not None)


if __name__ == "__main__":
    try:
        main()
    except flyte.errors.FlyteImagesError as error:
        sys.exit(f"{error}\nhint: {error.hint}")
