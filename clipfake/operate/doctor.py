"""`clipfake doctor`: what would fail or hang, said before a run starts. Facts come from clipfake.operate.node_facts."""

import contextlib
import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence

from clipfake.detector.bundle import Detector
from clipfake.detector.named import identify, load_detector
from clipfake.english import counted
from clipfake.errors import ClipfakeError, ExitCode, UsageError
from clipfake.images.resize import GPU_1
from clipfake.onray.connection import connected, root_cause
from clipfake.onray.nodes import Node, ask_nodes, cluster_nodes, node_of
from clipfake.onray.private import free_resources, has_token, session_folder, token_mode
from clipfake.operate.checks import (
    FAIL,
    OK,
    Finding,
    check_auth,
    check_clock,
    check_disk,
    check_encoder,
    check_placement,
    check_shm,
    check_source,
    check_storage,
    check_temporary,
    check_versions,
    expected_speed,
)
from clipfake.operate.node_facts import EncoderFacts, encoder_facts, node_facts
from clipfake.operate.options import DoctorOptions
from clipfake.scoring.placement import Placement
from clipfake.scoring.speed import measured_speed
from clipfake.storage import uri as uris
from clipfake.storage.runs import versions
from clipfake.storage.store import Store


def doctor(question: DoctorOptions) -> list[Finding]:
    """All findings, in the order in which a run would meet them. Raises UsageError for what is no place at all."""
    source, out = (uris.place(text) if text else None for text in (question.source, question.out))
    found, trained = [], None
    if question.detector:
        try:
            trained = load_detector(question.detector)
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


def exit_code(findings: Sequence[Finding]) -> ExitCode:
    """FAILED where something would fail."""
    return ExitCode.FAILED if any(finding.state == FAIL for finding in findings) else ExitCode.DONE


def _of_the_cluster(
    question: DoctorOptions, source: str | None, out: str | None, trained: Detector | None
) -> Iterator[Finding]:
    nodes = cluster_nodes()
    cpus, gpus = sum(node.cpus for node in nodes), sum(node.gpus for node in nodes)
    yield Finding("cluster", "", OK, f"{counted(len(nodes), 'node')}, {counted(cpus, 'CPU')}, {counted(gpus, 'GPU')}")
    free = free_resources()
    left = [node_of(free.get(node.id, {})) for node in nodes]
    on_gpus = trained is not None and trained.encoder.get("decoder") == GPU_1
    placement, finding = check_placement(nodes, left, question.job.scale_to, question.job.encoders_per_gpu, on_gpus)
    yield finding
    yield check_temporary(tempfile.gettempdir(), shutil.disk_usage(tempfile.gettempdir()).free)
    with _Witness(out) as (name, written, problem):
        if problem is not None:
            yield Finding("storage", "", FAIL, problem)
        asked = time.time()
        answers = ask_nodes(
            nodes, node_facts, session_folder(), out if problem is None else None, name, source,
            timeout_s=question.timeout,
        )  # fmt: skip
        heard = time.time()
    for node, facts in zip(nodes, answers, strict=True):
        where = node.address
        if isinstance(facts, str):
            yield Finding("node", where, FAIL, facts)
            continue
        yield check_versions(where, facts.versions, versions())
        yield check_clock(where, facts.clock, asked, heard)
        yield check_disk(where, *facts.disk)
        yield check_shm(where, facts.shm, int(node.object_store))
        if facts.token is not None:
            yield check_storage(where, facts.token, written)
        if source is not None:
            yield check_source(where, source, facts.source)
    if trained is not None and placement is not None and question.detector:
        yield from _of_the_encoder(question, out, nodes, placement, trained)


def _of_the_encoder(
    question: DoctorOptions, out: str | None, nodes: list[Node], placement: Placement, trained: Detector
) -> Iterator[Finding]:
    precision = trained.provenance.get("precision", "fp32")
    arguments = (
        identify(question.detector or ""), question.encoder, placement.encoder_threads, placement.batch_size, precision,
    )  # fmt: skip
    with_encoders = [node for node in nodes if node.cpus and (placement.device == "cpu" or node.gpus)]
    gpus = 1.0 if placement.device == "cuda" else 0.0
    answers = ask_nodes(with_encoders, encoder_facts, *arguments, timeout_s=question.timeout, gpus=gpus)
    speeds = []
    for node, facts in zip(with_encoders, answers, strict=True):
        facts = EncoderFacts(facts) if isinstance(facts, str) else facts
        if facts.images_per_second:
            speeds.append(facts)
        yield check_encoder(node.address, facts, placement.device)
    last = measured_speed(Store(out), "score", "images", placement.device) if out else None
    yield expected_speed(placement, speeds, last)


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


def _auth() -> tuple[str, bool]:
    return "token" if token_mode() else "disabled", has_token()


def _address() -> str | None:
    return os.environ.get("RAY_ADDRESS")


def _line(error: BaseException) -> str:
    return str(error) if isinstance(error, ClipfakeError) else root_cause(error)
