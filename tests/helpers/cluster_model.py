"""A job on a cluster, simulated event by event: one driver, one store, actors that have chunks in hand, commits.

Each chunk is given out by the driver, its images come from the store, an actor works on it, the driver hears of it.
"""

from dataclasses import dataclass
from heapq import heapify, heappop, heappush, heapreplace
from itertools import count


@dataclass(frozen=True)
class Costs:
    """What a chunk costs whom, in seconds.

    plan : from one planned chunk to the next, while the others are worked on
    driver : of the driver's processor, half when it is given out, half when it is heard of
    store : of the store as a whole, which serves one chunk after the other at its full rate
    actor : of the actor that has it
    ahead : chunks that an actor has in hand or waiting for it
    at_a_time, start : chunks that one execution gets, and the seconds until its actors are there
    unit, commit, commits : chunks of a unit, the seconds of its commit, and how many commits there are at a time
    """

    driver: float
    actor: float
    plan: float = 0.0
    store: float = 0.0
    ahead: int = 4
    at_a_time: int = 1 << 40
    start: float = 0.0
    unit: int = 256
    commit: float = 0.0
    commits: int = 4


class Server:
    """So many hands that serve in the order of arrival."""

    def __init__(self, hands: int = 1) -> None:
        self._free = [0.0] * hands
        heapify(self._free)

    def serve(self, at: float, seconds: float) -> float:
        """When what arrives `at` is done; arrivals come in their order."""
        done = max(at, self._free[0]) + seconds
        heapreplace(self._free, done)
        return done


def seconds_for(chunks: int, actors: int, costs: Costs) -> float:
    """Until so many chunks are done by so many actors, and their units committed."""
    driver, store, commits = Server(), Server(), Server(costs.commits)
    hands, order = [Server() for _ in range(actors)], count()
    steps = ((driver, costs.driver / 2), (store, costs.store), (hands, costs.actor), (driver, costs.driver / 2))
    now = end = 0.0
    given = done = 0
    events: list[tuple[float, int, int, int]] = []

    def give(at: float, actor: int) -> None:
        nonlocal given
        given += 1
        heappush(events, (max(at, given * costs.plan), next(order), 0, actor))

    while done < chunks:
        most = min(done + costs.at_a_time, chunks)
        for slot in range(min(most - done, actors * costs.ahead)):
            give(now + costs.start, slot % actors)
        while events:
            now, _, step, actor = heappop(events)
            if step < len(steps):
                server, seconds = steps[step]
                server = server[actor] if isinstance(server, list) else server
                heappush(events, (server.serve(now, seconds), next(order), step + 1, actor))
                continue
            done += 1
            if done % costs.unit == 0 or done == chunks:
                end = max(end, commits.serve(now, costs.commit))
            if given < most:
                give(now, actor)
    return max(now, end)


def bound(actors: int, costs: Costs) -> dict[str, float]:
    """Chunks a second that each part alone would let through: the smallest is the limit."""
    return {
        "actors": actors / costs.actor,
        "planning": 1 / costs.plan if costs.plan else float("inf"),
        "driver": 1 / costs.driver,
        "store": 1 / costs.store if costs.store else float("inf"),
        "commits": costs.commits * costs.unit / costs.commit if costs.commit else float("inf"),
        "starts": costs.at_a_time / costs.start if costs.start else float("inf"),
    }
