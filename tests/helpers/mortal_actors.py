"""A session whose actors are in a process of their own, which may die without the test's, and what kills it."""

import multiprocessing
import os
from collections.abc import Generator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import pyarrow as pa

from clipfake.errors import BrokenOffError
from clipfake.scoring.executor import InProcess
from clipfake.scoring.sources import Pipeline
from clipfake.scoring.unit_chunks import Chunk, as_table

DEADLY = b"deadly"  # what a JPEG has in it that kills who decodes it on the encoder's device
_actors: list[Any] = []


class InAnotherProcess(InProcess):
    """Gives way where that process dies, as a cluster does; each execution has a new one."""

    def run(self, pipeline: Pipeline, tasks: list[list[Chunk]], stall_s: float) -> Generator[pa.Table]:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["clipfake.scoring.handed_over", "clipfake.encoder.open_clip.tower"])
        with ProcessPoolExecutor(1, context, _start, (pipeline,)) as process:
            try:
                yield from process.map(_work, tasks)
            except BrokenProcessPool as error:
                raise BrokenOffError("an actor died") from error


def _start(pipeline: Pipeline) -> None:
    from clipfake.images import device_decoder

    decode = device_decoder.decode_jpeg

    def mortal(jpegs: list[Any], **options: Any) -> Any:
        if any(DEADLY in one.numpy().tobytes() for one in jpegs):
            os._exit(1)
        return decode(jpegs, **options)

    device_decoder.decode_jpeg = mortal
    _actors.extend(step.actor(*step.args) for step in pipeline)


def _work(task: list[Chunk]) -> pa.Table:
    table = as_table(task)
    for actor in _actors:
        table = actor(table)
    return table
