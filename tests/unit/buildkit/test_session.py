"""Several sessions in one process."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grpc

from flyte_images.buildkit.session import OpenSession, Session


def test_the_end_of_one_session_does_not_disturb_another() -> None:
    with grpc.insecure_channel("unix:/nowhere/at/all") as channel:

        def open_and_end(_: int) -> None:
            with OpenSession(channel, Session(), stores={}, targets={}):
                pass

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(open_and_end, range(200)))
