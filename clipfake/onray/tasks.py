"""Plain work on the connected Ray: a function as tasks, or a method of like actors, over many inputs."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from clipfake.onray.connection import failures_told

FAILED = "the work failed on the cluster: {}; run it again"


def map_tasks(
    function: Callable[..., Any], inputs: Sequence[Any], shared: Sequence[Any] = (), failed: str = FAILED
) -> Iterator[tuple[int, Any]]:
    """Calls `function(input, *shared)` for each input in a task of one CPU; gives (the input's number, the result).

    Results come as tasks end, and only the one that is given out is in this process. `shared` is sent once.

    Raises ClipfakeError with the first failure, `failed` with its cause in the place of {}, and what a task raised as
    ClipfakeError as it is. Tasks that are then left, or when the iterator is closed, are cancelled.
    """
    import ray

    known = [ray.put(one) for one in shared]
    # A cluster, or a test's, may have less than one CPU: its tasks take turns.
    task = ray.remote(num_cpus=min(1.0, ray.cluster_resources().get("CPU", 1.0)))(function)
    waiting = {task.remote(one, *known): number for number, one in enumerate(inputs)}
    try:
        while waiting:
            (done,), _ = ray.wait(list(waiting), num_returns=1)
            with failures_told(failed):
                result = ray.get(done)
            yield waiting.pop(done), result
    finally:
        for left in waiting:
            ray.cancel(left)


def in_order(results: Iterable[tuple[int, Any]]) -> list[Any]:
    """The results of `map_tasks` in the order of the inputs."""
    return [result for _, result in sorted(results, key=lambda numbered: numbered[0])]


def map_actors(
    kind: type, arguments: Sequence[Any], method: str, inputs: Sequence[Any], actors: int, *,
    cpus: float = 1.0, gpus: float = 0.0, failed: str = FAILED,
) -> Iterator[Any]:  # fmt: skip
    """Calls `method(input)` on a pool of actors `kind(*arguments)`; gives the results in the order of the inputs.

    The actors are killed at the end. Raises as `map_tasks` does.
    """
    import ray
    from ray.util import ActorPool

    actor: Any = ray.remote(num_cpus=cpus, num_gpus=gpus)(kind)
    pool = [actor.remote(*arguments) for _ in range(actors)]
    try:
        with failures_told(failed):
            yield from ActorPool(pool).map(lambda one, given: getattr(one, method).remote(given), list(inputs))
    finally:
        for one in pool:
            ray.kill(one)
