"""One run of `embed` or `score`: claim, plan, work off, reconcile, record."""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from clipfake.corpus.tally import Tally
from clipfake.english import counted
from clipfake.errors import ClaimLostError, ClipfakeError, ExitCode, UsageError, WorkFailedError
from clipfake.onray.nodes import Node, tell_changes
from clipfake.scoring.ahead import Wanted, beside
from clipfake.scoring.commit import Sink, Totals
from clipfake.scoring.executor import Session, opened
from clipfake.scoring.options import JobOptions
from clipfake.scoring.placement import Placement
from clipfake.scoring.plan import Counts, Planner
from clipfake.scoring.resume import take_up
from clipfake.scoring.sources import Listing, Pipeline, RowSource, Work, restored
from clipfake.scoring.speed import expectation, unit_rows
from clipfake.scoring.unit_runner import Progress, UnitRunner
from clipfake.storage.claim import LOCK_FOLDER, Claim, claimed
from clipfake.storage.compaction import finish_compactions
from clipfake.storage.ledger import Ledger
from clipfake.storage.runs import RUN_FOLDER, new_run_id, versions, write_record
from clipfake.storage.units import PLAN_FOLDER, Plan, close_plan, open_plans, run_of

log = logging.getLogger(__name__)

FIRST_CHUNKS = 8  # for each encoder, at least, where work begins while the listing goes on


@dataclass
class Job:
    """What differs between the jobs.

    ledger : where the rows go
    source : what the listing lists
    listing : makes the stream of items; called once, after the claim
    work : what is done with items
    sinks : (run id, saving) -> where rows go; the ledger's own comes last, since it says that a unit is done
    options : everything the user set, for the record
    views : views an item has beside its image
    tally : what the listing met that is no item
    """

    name: str
    ledger: Ledger
    source: RowSource
    listing: Listing
    work: Work
    sinks: Callable[[str, Ledger | None], list[Sink]]
    saves: Ledger | None = None
    options: dict[str, Any] = field(default_factory=dict)
    views: int = 0
    tally: Tally = field(default_factory=Tally)


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
    """Runs the job; `progress(n)` is told of n items to come, of each plan, and returns what to call as they do.

    session : what runs the work, and may still be starting; else Ray is started here

    Raises UsageError before anything is written, ClipfakeError where the work failed (what was committed stays).
    """
    return _Run(job, options, progress).run(session)


class _Run:
    """One run of a job, step by step."""

    def __init__(self, job: Job, options: JobOptions, progress: Callable[[int], Progress]) -> None:
        self.job, self.options, self.progress = job, options, progress
        self.run_id = new_run_id()
        self.store = job.ledger.store
        self.claims: list[Claim] = []
        self.totals = Totals()
        self.failed: list[str] = []  # what stays open, and why
        self.began, self.started_at = time.monotonic(), datetime.now(UTC)

    def run(self, session: Session | None) -> Outcome:
        """`run_job`."""
        job, dry = self.job, self.options.dry_run
        fresh = not self.store.list("")
        written = [one for one in (job.ledger, job.saves) if one is not None]
        for ledger in written:
            ledger.check()
        try:
            with contextlib.ExitStack() as stack:
                for ledger in written if not dry else []:
                    self.claims.append(stack.enter_context(claimed(ledger.store, self.run_id)))
                try:
                    for ledger in written if not dry else []:
                        finish_compactions(ledger.store, self._check)
                        ledger.store.sweep()  # half-written files of killed runs
                    left_open = self._left_open()
                    with contextlib.ExitStack() as cluster:
                        session = session or cluster.enter_context(opened(self.options.num_cpus))
                        return self._plan_and_work(left_open, session)
                except UsageError:
                    if self.claims and not self.totals.rows:
                        self._withdraw(fresh)
                    raise
        except UsageError:
            if fresh and self.claims and not self.totals.rows:
                self.store.delete_if_empty(LOCK_FOLDER)
            raise

    def _check(self) -> None:
        for claim in self.claims:
            claim.check()

    def _withdraw(self, fresh: bool) -> None:
        """Takes back what this run has planned, as if it had not been; the plans of other runs stay."""
        self._check()
        for name in self.store.folders(PLAN_FOLDER):
            if run_of(name) == self.run_id:
                self.store.delete_tree(f"{PLAN_FOLDER}/{name}")
        if fresh:
            for name in (PLAN_FOLDER, RUN_FOLDER):
                self.store.delete_if_empty(name)

    def _left_open(self) -> list[Plan]:
        """What earlier runs left open, less what is done meanwhile."""
        job, dry = self.job, self.options.dry_run
        plans = open_plans(job.ledger, clear=not dry, check=self._check)
        for plan in plans:
            if plan.saves and (job.saves is None or job.saves.store.uri != plan.saves):
                raise UsageError(
                    f"run {plan.run_id} left units open that save embeddings; finish them with --save-embeddings "
                    f"{plan.saves}"
                )
            if plan.lost:
                self.failed.append(
                    f"the item lists of {len(plan.lost)} units of run {plan.run_id} are gone from {self.store.uri}: "
                    "what they held is planned again where it is listed again"
                )
            if plan.read is None:
                log.warning("run %s was planned by clipfake 0.1.0: its items are read as this run's are", plan.run_id)
        if dry:
            return plans
        without = take_up(job.ledger, [plan for plan in plans if not plan.saves], None, self._check)
        return without + take_up(job.ledger, [plan for plan in plans if plan.saves], job.saves, self._check)

    def _plan_and_work(self, left_open: list[Plan], session: Session) -> Outcome:
        job, options = self.job, self.options
        planner = Planner(job.ledger, left_open, job.saves, retry_errors=options.retry_errors)
        planned = session.nodes(None if options.dry_run else options.scale_to, options.stall_timeout)
        cluster = time.monotonic() - self.began
        nodes = [node for node in planned if node.address]
        sizes = self._placement(job.source, planned, 1 << 40)
        rows = options.unit_rows or unit_rows(
            self.store, job.name, job.source, sizes.device, job.saves or job.ledger, job.views
        )

        def plans(wanted: Wanted) -> Iterator[Plan]:
            return planner.plans(
                self.run_id, job.listing(), job.source.kind, rows, min(sizes.chunk_rows, rows),
                read=job.source.described(), check=self._check, dry=options.dry_run, wanted=wanted,
            )  # fmt: skip

        if options.dry_run:
            list(plans(lambda items: False))
            gpus, still_open = sum(node.gpus for node in nodes), sum(one.items for one in left_open)
            expected = expectation(self.store, job.name, job.source, planner.counts, still_open, gpus)
            return Outcome(self.run_id, planner.counts, Totals(), expected)
        # Some of what was left open may rewrite files, which the planner reads: then all is planned before.
        known = [*left_open, *plans(lambda items: False)] if left_open else []
        advance = self.progress(sum(one.items for one in known)) if known else None
        left, at_work = 0, None
        where = f"{counted(len(nodes), 'node')} ({', '.join(node.address for node in nodes)})"
        least = max(rows, sizes.encoders * sizes.chunk_rows * FIRST_CHUNKS)
        with contextlib.nullcontext(iter(known)) if known else beside(plans, least) as made:
            for one in self._listed(made):
                at_work = at_work or time.monotonic()
                log.info("run %s: %s on %s", one.run_id, counted(one.items, "item"), where)
                left += self._work(one, advance or self.progress(one.items), session)
        at_work, worked = at_work or time.monotonic(), time.monotonic()
        found = planner.counts.new + planner.counts.retried + sum(p.items for p in left_open)
        if planner.ended_at and self.totals.rows + left != found:
            counts = f"{planner.counts}, {self.totals.rows} rows committed"
            raise ClipfakeError(f"counts do not reconcile: {counts}; this is a bug")
        seconds = {"plan": at_work - self.began, "work": worked - at_work, "total": worked - self.began}
        seconds |= {"until_cluster": cluster, "until_listed": (planner.ended_at or worked) - self.began}
        record = self._record(planner.counts, nodes, sizes.device, seconds, sum(p.items for p in left_open))
        write_record(self.store, self.run_id, record)
        if self.failed:
            more = f" (and {len(self.failed) - 1} more, see the log)" if len(self.failed) > 1 else ""
            raise ClipfakeError(f"{self.failed[0]}{more}")
        too_many = self.totals.rows > 0 and self.totals.errors / self.totals.rows > options.max_error_rate
        lost = job.tally.lost
        too_many |= lost > options.max_error_rate * (planner.counts.listed + lost)
        return Outcome(
            self.run_id, planner.counts, self.totals, record, ExitCode.TOO_MANY_ERRORS if too_many else ExitCode.DONE
        )

    def _listed(self, plans: Iterator[Plan]) -> Iterator[Plan]:
        """The plans; a listing that breaks off when rows are committed already leaves a run that is not finished."""
        try:
            yield from plans
        except ClaimLostError:
            raise
        except ClipfakeError as error:
            if not self.totals.rows:
                raise
            self.failed.append(str(error))

    def _work(self, plan: Plan, advance: Progress, session: Session) -> int:
        """Works a plan off, with the options it was made with; the rows of units that failed, which stay open.

        A plan that fails keeps none of the others from being worked off.
        """
        job, options = self.job, self.options
        source = restored(plan.source, plan.read or {})
        if plan.read is None and plan.source == job.source.kind:  # of version 0.1.0
            source = job.source
        saves = job.saves if plan.saves else None
        seen: set[str] = set()

        def pipeline() -> Pipeline:
            nodes = session.nodes(options.scale_to, options.stall_timeout)
            tell_changes(seen, {node.address for node in nodes if node.address})
            placement = session.adapted(self._placement(source, nodes, plan.items))
            return source.pipeline(job.work, placement, saves is not None)

        before = self.totals.rows
        sinks = job.sinks(self.run_id, saves)
        standings = [claim.standing for claim in self.claims]
        runner = UnitRunner(
            self.store, plan, source, pipeline, sinks, standings, self.totals, advance, options.stall_timeout, session
        )
        try:
            reasons = list(runner.run().values())
        except WorkFailedError as error:
            reasons = [str(error)]
        if reasons:
            log.error("run %s is not finished: %s", plan.run_id, reasons[0])
            self.failed += reasons
        else:
            self._check()
            close_plan(self.store, plan)
        return plan.items - (self.totals.rows - before)

    def _placement(self, source: RowSource, nodes: list[Node], items: int) -> Placement:
        job, options = self.job, self.options
        return source.placement(job.work, nodes, items, options.batch_size, job.views, options.encoders_per_gpu)

    def _record(
        self, counts: Counts, nodes: list[Node], device: str, seconds: dict[str, float], finished: int
    ) -> dict[str, Any]:
        totals = self.totals
        if totals.first_row is not None:
            seconds["until_first_row"] = totals.first_row - self.began
        seconds |= totals.times.starts(self.started_at.timestamp())
        log.debug("seconds: %s", ", ".join(f"{name} {value:.1f}" for name, value in seconds.items()))
        return {
            "command": self.job.name,
            "source": self.job.source.kind,
            "run_id": self.run_id,
            "started_at": self.started_at,
            "finished_at": datetime.now(UTC),
            "key": self.job.ledger.key,
            "options": self.job.options,
            "versions": versions(),
            "nodes": [asdict(node) for node in nodes],
            "device": device,
            "found": asdict(counts),
            "skipped": dict(self.job.tally.skipped),
            "warnings": dict(self.job.tally.warnings),
            "finished_for_earlier_runs": finished,
            "failed": self.failed,
            "rows": totals.rows,
            "status": dict(totals.status),
            "verdict": dict(totals.verdict),
            "unfamiliar": dict(totals.unfamiliar),
            "bytes": totals.bytes,
            "seconds": seconds,
            "seconds_by_stage": totals.times.by_stage,
            "by_node": totals.times.by_node(),
            "busy": totals.times.busy(seconds["work"]),
            "steady": totals.times.steady(),
            "images_per_second": totals.rows / seconds["work"] if totals.rows else None,
        }
