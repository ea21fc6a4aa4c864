"""Runs in the environment of the `flyte` package: builds the image of app.py with flyte's own local builder.

The first line of its template names a frontend image, which would have to be pulled; the engine's own frontend is used
instead. It prints the name of the image as its last line.
"""

import asyncio
import sys

from flyte._internal.imagebuild import docker_builder

template = docker_builder.DOCKER_FILE_UV_BASE_TEMPLATE
lines = [line for line in template.template.splitlines() if not line.startswith("# syntax=")]
docker_builder.DOCKER_FILE_UV_BASE_TEMPLATE = type(template)("\n".join(lines) + "\n")

from app import image  # noqa: E402

asyncio.run(docker_builder.DockerImageBuilder()._build_image(image, push="--push" in sys.argv))
print(image.uri)
