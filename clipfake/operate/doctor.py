"""`clipfake doctor`: what would fail or hang, said before a run starts. Facts come from clipfake.operate.node_facts."""

import contextlib
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from clipfake.detector.bundle import Detector
from clipfake.errors import UsageError
from clipfake.onray.connection import connected, token_mode
from clipfake.onray.nodes import node_of
from clipfake.operate.checks import (
    FAIL,
    OK,
    Finding,
    check_auth,
    check_clock,
    check_disk,
    check_encoder,
    check_layout,
    check_shm,
    check_source,
    check_storage,
    check_versions,
    expected_speed,
)
from clipfake.operate.node_facts import EncoderFacts, encoder_facts, node_facts
from clipfake.scoring.job import JobOptions, measured_speed
from clipfake.scoring.layout import Layout
from clipfake.storage import uri as uris
from clipfake.storage.runs import versions
from clipfake.storage.store import Store

T = TypeVar("T")


@dataclass(frozen=True)
class Question:
    """What is to be run, and how it is to be laid out. timeout : seconds a node may take to answer"""

    source: str | None = None
    detector: str | None = None
    out: str | None = None
    encoder: str | None = None
    timeout: float = 120.0
    job: JobOptions = field(default_factory=JobOptions)


def doctor(question: Question) -> list[Finding]:
    """All findings, in the order in which a run would meet them. Raises UsageError for what is no place at all."""
    source, out = (uris.place(text) if text else None for text in (question.source, question.out))
    found, trained = [], None
    if question.detector:
        place = uris.place(question.detector)
        try:
            trained = Detector.load(Store(place))
            found.append(Finding("detector", "", OK, trained.fingerprint[:16]))
        except (UsageError, OSError) as error:
            found.append(Finding("detector", "", FAIL, _line(error)))
    try:
        with connected(question.job.num_cpus):
            found.append(check_auth(*_auth(), _address()))  # now: a Ray that starts here turns tokens on
            found += _of_the_cluster(question, source, out, trained)
    except Exception as error:  # of Ray, which has many; without a cluster there is nothing more to ask
        if not any(finding.check == "auth" for finding in found):
            found.append(check_auth(*_auth(), _address()))
        found.append(Finding("cluster", "", FAIL, _line(error)))
    return found


def exit_code(findings: Sequence[Finding]) -> int:
    """0, or 1 where something would fail."""
    return int(any(finding.state == FAIL for finding in findings))


def _of_the_cluster(
    question: Question, source: str | None, out: str | None, trained: Detector | None
) -> Iterator[Finding]:
    nodes = _nodes()
    yield Finding("cluster", "", OK, f"{len(nodes)} nodes, {_sum(nodes, 'CPU'):g} CPUs, {_sum(nodes, 'GPU'):g} GPUs")
    free = _free()
    whole, left = (
        [node_of(node["Resources"]) for node in nodes],
        [node_of(free.get(n["NodeID"], {})) for n in nodes],
    )
    layout, finding = check_layout(whole, left, question.job.scale_to, question.job.encoders_per_gpu)
    yield finding
    with _Witness(out) as (name, written, problem):
        if problem is not None:
            yield Finding("storage", "", FAIL, problem)
        asked = time.time()
        answers = _ask(
            nodes, node_facts, (_session(), out if problem is None else None, name, source), question.timeout
        )
        heard = time.time()
    for node, facts in zip(nodes, answers, strict=True):
        where = node["NodeManagerAddress"]
        if isinstance(facts, str):
            yield Finding("node", where, FAIL, facts)
            continue
        yield check_versions(where, facts.versions, versions())
        yield check_clock(where, facts.clock, asked, heard)
        yield check_disk(where, *facts.disk)
        yield check_shm(where, facts.shm, int(node["Resources"].get("object_store_memory", 0)))
        if facts.token is not None:
            yield check_storage(where, facts.token, written)
        if source is not None:
            yield check_source(where, source, facts.source)
    if trained is not None and layout is not None and question.detector:
        yield from _of_the_encoder(question, out, nodes, layout, trained)


def _of_the_encoder(
    question: Question, out: str | None, nodes: list[dict[str, Any]], layout: Layout, trained: Detector
) -> Iterator[Finding]:
    precision = trained.provenance.get("precision", "fp32")
    arguments = (
        uris.place(question.detector or ""), question.encoder, layout.encoder_threads, layout.batch_size, precision,
    )  # fmt: skip
    with_encoders = [node for node in nodes if layout.device == "cpu" or node["Resources"].get("GPU")]
    with_encoders = [node for node in with_encoders if node["Resources"].get("CPU")]
    gpus = 1.0 if layout.device == "cuda" else 0.0
    answers = _ask(with_encoders, encoder_facts, arguments, question.timeout, gpus)
    speeds = []
    for node, facts in zip(with_encoders, answers, strict=True):
        facts = EncoderFacts(facts) if isinstance(facts, str) else facts
        speeds.append(facts.images_per_second)
        yield check_encoder(node["NodeManagerAddress"], facts, layout.device)
    last = measured_speed(Store(out), "score", "images", layout.device) if out else None
    yield expected_speed(layout, [speed for speed in speeds if speed], last)


class _Witness:
    """A file below --out that the driver wrote, for the nodes to read: (name, what it holds, why not); then it goes."""

    def __init__(self, out: str | None) -> None:
        self._store = Store(out) if out else None
        self._name = f"_doctor/{secrets.token_hex(8)}.json"
        self._held = json.dumps({"written_by": "clipfake doctor", "at": time.time()})

    def __enter__(self) -> tuple[str, str, str | None]:
        problem = None
        if self._store is not None:
            self._fresh = not self._store.exists()
            try:
                self._store.write_bytes(self._name, self._held.encode())
            except Exception as error:
                problem = f"the driver cannot write to --out: {_line(error)}"
        return self._name, self._held, problem

    def __exit__(self, *error: object) -> None:
        if self._store is None:
            return
        self._store.delete_tree("_doctor")
        if self._fresh and not self._store.is_object_store:
            with contextlib.suppress(OSError):  # a run that has begun to write there meanwhile
                os.rmdir(self._store.path(""))  # noqa: PTH106 - only an empty folder goes


def _ask(
    nodes: list[dict[str, Any]], what: Callable[..., T], arguments: tuple[Any, ...], timeout: float, gpus: float = 0.0
) -> list[T | str]:
    """`what(*arguments)` on each node; where it fails or does not answer in time, why, in one line."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    remote = ray.remote(num_cpus=0, num_gpus=gpus, max_retries=0)(what)
    there = [NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in nodes]
    tasks = [remote.options(scheduling_strategy=strategy).remote(*arguments) for strategy in there]
    ready, _ = ray.wait(tasks, num_returns=len(tasks), timeout=timeout) if tasks else ([], [])
    answers: list[T | str] = []
    for task in tasks:
        if task not in ready:
            ray.cancel(task, force=True)
            answers.append(f"no answer in {timeout:g} s: it is out of reach, or its GPU is held by another job")
            continue
        try:
            answers.append(ray.get(task))
        except Exception as error:
            answers.append(_line(error))
    return answers


def _nodes() -> list[dict[str, Any]]:
    import ray

    return [node for node in ray.nodes() if node["Alive"]]


def _free() -> dict[str, dict[str, float]]:
    """Node id -> what no actor or task holds."""
    from ray._private.state import available_resources_per_node

    return available_resources_per_node()


def _sum(nodes: list[dict[str, Any]], name: str) -> float:
    return float(sum(node["Resources"].get(name, 0.0) for node in nodes))


def _session() -> str:
    import ray

    return str(ray._private.worker.global_worker.node.get_session_dir_path())  # type: ignore[union-attr]


def _auth() -> tuple[str, bool]:
    from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]  # Ray 2.60 has no public way to ask

    found = bool(AuthenticationTokenLoader.instance().has_token(ignore_auth_mode=True))
    return "token" if token_mode() else "disabled", found


def _address() -> str | None:
    return os.environ.get("RAY_ADDRESS")


def _line(error: BaseException) -> str:
    from clipfake.errors import ClipfakeError
    from clipfake.onray.connection import root_cause

    return str(error) if isinstance(error, ClipfakeError) else root_cause(error)
