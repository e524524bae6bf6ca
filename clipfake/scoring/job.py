"""One run of `embed` or `score`: claim, plan, work off, reconcile, record."""

import contextlib
import logging
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from clipfake.errors import ClipfakeError, ExitCode, UsageError
from clipfake.onray.nodes import Node, tell_changes
from clipfake.scoring.commit import Sink, Totals
from clipfake.scoring.executor import Session, opened
from clipfake.scoring.layout import Layout, plan_layout, plan_rescoring
from clipfake.scoring.options import JobOptions
from clipfake.scoring.pipeline import Pipeline
from clipfake.scoring.plan import Counts, Planner
from clipfake.scoring.waves import Progress, work_off
from clipfake.storage.claim import LOCK_FOLDER, Claim, claimed
from clipfake.storage.compaction import finish_compactions
from clipfake.storage.ledger import Ledger
from clipfake.storage.runs import new_run_id, read_records, versions, write_record
from clipfake.storage.store import Store
from clipfake.storage.units import Plan, close_plan, open_plans

log = logging.getLogger(__name__)

UNIT_SECONDS = 120  # of work in a unit, by the speed of the last runs
FIRST_UNIT_ROWS = {"cpu": 2_048, "cuda": 262_144}  # where no run has been measured yet
FIRST_STORED_ROWS = 262_144  # the same for stored embeddings
UNIT_ROWS_LIMITS = (256, 1_000_000)
UNIT_BYTES = 512 << 20


@dataclass
class Job:
    """What differs between the jobs.

    ledger : where the rows go
    source : what the listing lists: "images" or "embeddings"
    listing : makes the stream of items; called once, after the claim
    pipeline : (source, layout, saving) -> what the chunks go through
    sinks : (run id, saving) -> where rows go; the ledger's own comes last, since it says that a unit is done
    options : everything the user set, for the record
    views : views an item has beside its image
    """

    name: str
    ledger: Ledger
    source: str
    listing: Callable[[], pa.RecordBatchReader]
    pipeline: Callable[[str, Layout, bool], Pipeline]
    sinks: Callable[[str, Ledger | None], list[Sink]]
    saves: Ledger | None = None
    options: dict[str, Any] = field(default_factory=dict)
    views: int = 0


@dataclass
class Outcome:
    """What a run did. `record` is what `_runs/<run id>.json` holds."""

    run_id: str
    counts: Counts
    totals: Totals
    record: dict[str, Any]
    exit_code: ExitCode = ExitCode.DONE


def run_job(
    job: Job, options: JobOptions, progress: Callable[[int], Progress], session: Session | None = None
) -> Outcome:
    """Runs the job; `progress(n)` is told of n items to come and returns what to call as they do.

    session : what runs the work, and may still be starting; else Ray is started here

    Raises UsageError before anything is written, ClipfakeError where the work failed (what was committed stays).
    """
    run_id = new_run_id()
    store = job.ledger.store
    fresh = not store.list("")
    job.ledger.check()
    if job.saves is not None:
        job.saves.check()
    began, started_at = time.monotonic(), datetime.now(UTC)
    totals, planner = Totals(), None
    claims: list[Claim] = []
    try:
        with contextlib.ExitStack() as stack:
            written = [one.store for one in (job.ledger, job.saves) if one is not None and not options.dry_run]
            for folder in written:
                claims.append(stack.enter_context(claimed(folder, run_id)))
            for folder in written:
                finish_compactions(folder)
                folder.sweep()  # half-written files of killed runs
            left_open = open_plans(job.ledger, clear=not options.dry_run)
            planner = Planner(job.ledger, left_open, job.saves, retry_errors=options.retry_errors)
            with contextlib.ExitStack() as cluster:
                session = session or cluster.enter_context(opened(options.num_cpus))
                planned = session.nodes(None if options.dry_run else options.scale_to, options.stall_timeout)
                nodes = [node for node in planned if node.address]
                sizes = _layout(job, job.source, planned, 1 << 40, options)
                unit_rows = options.unit_rows or _unit_rows(store, job, sizes.device)
                chunk_rows = min(sizes.chunk_rows, unit_rows)
                plan = planner.write(run_id, job.listing(), job.source, unit_rows, chunk_rows, dry=options.dry_run)
                at_work = time.monotonic()
                if options.dry_run:
                    gpus = sum(node.gpus for node in nodes)
                    return _dry_outcome(job, run_id, planner.counts, left_open, gpus)
                plans = [*left_open, plan]
                where = ", ".join(node.address for node in nodes)
                log.info("run %s: %d items on %d nodes (%s)", run_id, sum(p.items for p in plans), len(nodes), where)
                advance = progress(sum(p.items for p in plans))
                for one in plans:
                    if one.units:
                        _work(job, one, run_id, options, claims, totals, advance, session)
        worked = time.monotonic()
    except UsageError:
        if fresh and claims and not totals.rows:  # a run that was refused the claim leaves the folder to its holder
            for name in ("_plan", "_runs"):
                store.delete_tree(name)
            if not store.list(LOCK_FOLDER):
                store.delete_tree(LOCK_FOLDER)
        raise
    if totals.rows != planner.counts.new + planner.counts.retried + sum(p.items for p in left_open):
        raise ClipfakeError(f"counts do not reconcile: {planner.counts}, {totals.rows} rows committed; this is a bug")
    seconds = {"plan": at_work - began, "work": worked - at_work, "total": worked - began}
    if totals.first_row is not None:
        seconds["until_first_row"] = totals.first_row - began
    record = {
        "command": job.name,
        "source": job.source,
        "run_id": run_id,
        "started_at": started_at,
        "finished_at": datetime.now(UTC),
        "key": job.ledger.key,
        "options": job.options,
        "versions": versions(),
        "nodes": [asdict(node) for node in nodes],
        "device": sizes.device,
        "found": asdict(planner.counts),
        "finished_for_earlier_runs": sum(p.items for p in left_open),
        "rows": totals.rows,
        "status": dict(totals.status),
        "verdict": dict(totals.verdict),
        "unfamiliar": dict(totals.unfamiliar),
        "bytes": totals.bytes,
        "seconds": seconds,
        "seconds_by_stage": totals.effort.by_stage,
        "by_node": totals.effort.by_node(),
        "busy": totals.effort.busy(seconds["work"]),
        "images_per_second": totals.rows / seconds["work"] if totals.rows else None,
    }
    write_record(store, run_id, record)
    too_many = totals.rows > 0 and totals.errors / totals.rows > options.max_error_rate
    return Outcome(run_id, planner.counts, totals, record, ExitCode.TOO_MANY_ERRORS if too_many else ExitCode.DONE)


def _work(
    job: Job, plan: Plan, run_id: str, options: JobOptions, claims: list[Claim], totals: Totals, advance: Progress,
    session: Session,
) -> None:  # fmt: skip
    store = job.ledger.store
    saves = job.saves if plan.saves else None
    if plan.saves and (job.saves is None or job.saves.store.uri != plan.saves):
        raise UsageError(
            f"run {plan.run_id} left units open that save embeddings; finish them with --save-embeddings {plan.saves}"
        )

    seen: set[str] = set()

    def pipeline() -> Pipeline:
        nodes = session.nodes(options.scale_to, options.stall_timeout)
        tell_changes(seen, {node.address for node in nodes if node.address})
        layout = session.laid_out(_layout(job, plan.source, nodes, plan.items, options))
        return job.pipeline(plan.source, layout, saves is not None)

    try:
        sinks = job.sinks(run_id, saves)
        work_off(store, plan, pipeline, sinks, claims, totals, advance, options.stall_timeout, session)
    except UsageError:
        if not totals.rows:
            close_plan(store, plan)
        raise
    close_plan(store, plan)


def _layout(job: Job, source: str, nodes: list[Node], items: int, options: JobOptions) -> Layout:
    if source == "embeddings":
        return plan_rescoring(nodes, items, options.encoders_per_gpu)
    return plan_layout(nodes, items, options.batch_size, job.views, options.encoders_per_gpu)


def _unit_rows(store: Store, job: Job, device: str) -> int:
    """Rows for UNIT_SECONDS at the speed of this folder's last run of the same kind on the same device.

    Never more than UNIT_BYTES of vectors: a unit is in this process' memory when it commits.
    """
    speed = measured_speed(store, job.name, job.source, device)
    low, high = UNIT_ROWS_LIMITS
    rows = FIRST_STORED_ROWS if job.source == "embeddings" else max(1, FIRST_UNIT_ROWS[device] // (1 + job.views))
    if speed is not None:
        rows = min(high, max(low, math.ceil(speed * UNIT_SECONDS)))
    kept = job.saves or job.ledger
    vectors = [field.type for field in kept.schema if pa.types.is_fixed_size_list(field.type)]
    bytes_a_row = sum(kind.list_size * kind.value_type.bit_width // 8 for kind in vectors) * (1 + job.views)
    return max(1, min(rows, UNIT_BYTES // bytes_a_row if bytes_a_row else rows))


def measured_speed(store: Store, command: str, source: str, device: str | None = None) -> float | None:
    """Images per second of the last comparable run that had work for at least 10 s."""
    for record in reversed(read_records(store)):
        same = (record["command"], record["source"]) == (command, source) and device in (None, record["device"])
        if same and record["images_per_second"] and record["seconds"]["work"] >= 10:
            return float(record["images_per_second"])
    return None


def _dry_outcome(job: Job, run_id: str, counts: Counts, left_open: list[Plan], gpus: float) -> Outcome:
    speed = measured_speed(job.ledger.store, job.name, job.source)
    still_open = sum(plan.items for plan in left_open)
    to_do = counts.new + counts.retried + still_open
    record = {
        "listed": counts.listed,
        "already_done": counts.done - still_open,
        "open": still_open,
        "new": counts.new - counts.changed,
        "changed": counts.changed,
        "to_retry": counts.retried,
        "bytes_to_read": counts.bytes_to_read,
        "images_per_second": speed,
        "expected_seconds": to_do / speed if speed else None,
        "expected_gpu_hours": to_do / speed * gpus / 3600 if speed else None,
    }
    return Outcome(run_id, counts, Totals(), record)
