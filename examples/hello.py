"""The smallest environment: the default image and no limits; a plain call and a call in a container.

flyte-images run examples/hello.py greet --name Ada
python examples/hello.py
"""

import platform

import flyte_images as flyte

env = flyte.TaskEnvironment(name="hello")


@env.task
def greet(name: str, times: int = 1) -> str:
    """Say hello from the machine or container that runs this."""
    return "\n".join([f"hello {name}, from {platform.node()}"] * times)


if __name__ == "__main__":
    print(greet("Ada"))  # in this process
    run = flyte.run(greet, "Ada")  # in a container
    print(run.result)
