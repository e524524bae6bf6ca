"""The job `train`: stored embeddings -> split -> head -> SVM, calibration, thresholds -> a detector and its metrics."""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow.compute as pc
import torch

from clipfake.corpus import uri as uris
from clipfake.corpus.store import Store, kind_of
from clipfake.detector.bundle import Detector
from clipfake.detector.calibration import METHODS
from clipfake.detector.familiarity import fit_reference
from clipfake.detector.fit import check_calibration, fit_calibrator, fit_linear_baseline, fit_svm, svm_rule
from clipfake.detector.head import Head
from clipfake.detector.thresholds import Threshold, fit_thresholds, rates_at, verdicts
from clipfake.encoder.card import TOLERANCE
from clipfake.encoder.description import EncoderDescription
from clipfake.encoder.encoder import Encoder
from clipfake.engine.cluster import connected
from clipfake.engine.head_training import HeadOptions, Part, TrainedHead, train_head
from clipfake.engine.record import versions
from clipfake.engine.scan import stored_embeddings
from clipfake.engine.search import search_svm
from clipfake.errors import UsageError
from clipfake.evaluation.metrics import by_generator, macro_mean, metrics
from clipfake.evaluation.split import PARTS, split_units, unit_of
from clipfake.report.schema import read_footer

log = logging.getLogger(__name__)

COLUMNS = ["item_id", "label", "generator", "group_id", "content_sha256", "status", "view", "embedding"]


@dataclass(frozen=True)
class TrainOptions:
    """How a detector is trained.

    C : of the SVM; gamma is scikit-learn's "scale" on the head's output
    search : find C and gamma by cross-validation within the training part instead
    calibration : sigmoid, temperature or isotonic
    workers : of Ray Train; the result is the same up to rounding for any number
    """

    head: HeadOptions = field(default_factory=HeadOptions)
    C: float = 1.0
    workers: int = 1
    num_cpus: int | None = None
    search: bool = False
    calibration: str = "sigmoid"

    def __post_init__(self) -> None:
        if self.workers < 1 or self.C <= 0:
            raise UsageError("--workers must be at least 1 and --c above 0")
        if self.calibration not in METHODS:
            raise UsageError(f"there is no calibration {self.calibration!r}: choose one of {', '.join(METHODS)}")


@dataclass(frozen=True)
class Labelled:
    """Labelled embeddings, sorted by item_id (the order in which Ray wrote them is not stable)."""

    item_id: np.ndarray
    x: np.ndarray  # (N, D), float32 or float16 as stored
    y: np.ndarray  # (N,) int64
    generator: np.ndarray
    unit: np.ndarray
    encoder: EncoderDescription
    precision: str
    left_out: dict[str, int]

    @property
    def digest(self) -> str:
        """sha256 of what is trained on: identities, contents, labels, vectors."""
        digest = hashlib.sha256()
        for column in (self.item_id, self.unit, self.generator):
            digest.update("\n".join(map(str, column)).encode())
        for array in (self.x, self.y):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


@dataclass(frozen=True)
class Trained:
    """What `train` gives back. tables : part -> detector and baseline -> metrics; by_generator : of the test part."""

    detector: Detector
    head: TrainedHead
    tables: dict[str, dict[str, Any]]
    by_generator: dict[str, dict[str, Any]]
    sizes: dict[str, dict[str, int]]


def train(embeddings: str, out: str, options: TrainOptions, say: Callable[[str], None] = log.info) -> Trained:
    """Trains a detector from the embeddings in one folder and writes its bundle into another.

    `out` must be new or hold a detector; `say` is told of each step. Raises UsageError where the embeddings cannot be
    trained on or `out` holds something else.
    """
    store = Store(uris.place(out))
    _check_out(store)
    data = read_labelled(embeddings)
    part = split_units(data.y.tolist(), data.generator.tolist(), data.unit.tolist(), options.head.seed)
    rows = {name: np.flatnonzero(part == name) for name in PARTS}
    sizes = {
        name: {"n": len(r), "reals": int((data.y[r] == 0).sum()), "fakes": int((data.y[r] == 1).sum())}
        for name, r in rows.items()
    }
    for name, size in sizes.items():
        if not size["reals"] or not size["fakes"]:
            raise UsageError(
                f"the {name} part of the split has {size['reals']} real and {size['fakes']} fake items: training needs "
                "labelled items of both classes (or smaller groups)"
            )
    say(
        "split: "
        + ", ".join(f"{name} {size['n']} ({size['reals']} real, {size['fakes']} fake)" for name, size in sizes.items())
    )

    check_calibration(options.calibration, data.y[rows["val"]])
    encoder = Encoder.load(
        data.encoder, precision="fp32"
    )  # for the test card; refuses weights that are not the ones of `data`
    parts = {name: Part(data.x[r].astype(np.float32), data.y[r], data.generator[r]) for name, r in rows.items()}
    storage = _storage(store)
    with connected(options.num_cpus):
        trained = train_head(parts["train"], parts["val"], options.head, options.workers, storage)
    say(
        f"head: best epoch {trained.best_epoch + 1} of {len(trained.history)}, "
        f"validation loss {trained.history[trained.best_epoch]['val_loss']:.4f}"
    )

    head = Head(data.x.shape[1], options.head.out_dim)
    head.load_state_dict({name: torch.tensor(array) for name, array in trained.state.items()})
    head.eval().requires_grad_(False)
    torch.set_num_threads(
        1
    )  # the order of a sum depends on the number of threads, and the detector's fingerprint on it
    projected = {name: _project(head, p.x) for name, p in parts.items()}
    learned, searched = parts["train"], None
    if options.search:
        with connected(options.num_cpus):
            searched = search_svm(
                projected["train"],
                learned.y,
                learned.generator.tolist(),
                data.unit[rows["train"]].tolist(),
                options.head.seed,
                say,
            )
    cost, gamma = (searched.C, searched.gamma) if searched else (options.C, None)
    say(f"SVM: {svm_rule(len(learned.y))}")
    svm = fit_svm(projected["train"], learned.y, cost, gamma, learned.generator.tolist(), options.head.seed)
    decision = {name: svm.decision(torch.from_numpy(x)).numpy() for name, x in projected.items()}
    calibrator = fit_calibrator(decision["val"], parts["val"].y, options.calibration)
    thresholds = fit_thresholds(decision["val"][parts["val"].y == 0])
    reference = fit_reference(learned.x, learned.y, learned.generator.tolist(), parts["val"].x, options.head.seed)

    baseline = fit_linear_baseline(parts["train"].x, parts["train"].y)
    raw = {name: baseline.decision(torch.from_numpy(p.x)).numpy() for name, p in parts.items()}
    raw_calibrator = fit_calibrator(raw["val"], parts["val"].y, options.calibration)
    tables = {
        name: {
            "detector": metrics(p.y, decision[name], calibrator.probability(decision[name]), decision[name] > 0),
            "baseline": metrics(p.y, raw[name], raw_calibrator.probability(raw[name]), raw[name] > 0),
        }
        for name, p in parts.items()
    }
    test = parts["test"]
    generators = by_generator(
        test.y,
        test.generator.tolist(),
        decision["test"],
        calibrator.probability(decision["test"]),
        decision["test"] > 0,
    )
    detector = Detector(
        encoder=encoder.description.to_dict(),
        encoder_fingerprint=encoder.description.fingerprint,
        head=head,
        svm=svm,
        calibrator=calibrator,
        thresholds=thresholds,
        reference=reference,
        test_card=encoder.test_card_embedding(),
        test_card_tolerance=TOLERANCE,
        metrics={
            **{name: table["detector"] for name, table in tables.items()},
            "test_by_generator": generators,
            "test_macro": macro_mean(generators),
            "at_thresholds": rates_at(thresholds, test.y, decision["test"]),
            "verdicts": _verdict_counts(test.y, decision["test"], thresholds),
        },
        baseline={name: table["baseline"] for name, table in tables.items()},
        provenance={
            "encoder": data.encoder.name,
            "precision": data.precision,
            "trained_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "data_sha256": data.digest,
            "left_out": data.left_out,
            "sizes": sizes,
            "generators": sorted({str(name) for name in data.generator}),
            "options": asdict(options),
            "history": trained.history,
            "best_epoch": trained.best_epoch,
            "svm": {"rule": svm_rule(len(learned.y)), "C": cost, "search": searched and searched.described()},
            "versions": versions(),
        },
    )
    detector.save(store)
    storage.delete_tree("")
    return Trained(detector, trained, tables, generators, sizes)


def read_labelled(embeddings: str) -> Labelled:
    """The labelled embeddings of a folder; errors, unlabelled items and augmented views are left out and counted.

    Raises UsageError where the folder holds no embeddings or nothing labelled.
    """
    place = uris.place(embeddings)
    if kind_of(place) != "embeddings":
        raise UsageError(
            f"{embeddings} holds no embeddings: make some with `clipfake embed MANIFEST --encoder ENC --out EMB`"
        )
    ledger = stored_embeddings(place)
    found = read_footer(ledger.footer)
    table = ledger.dataset().to_table(columns=COLUMNS).filter(pc.field("view") == 0)
    errors = pc.sum(pc.not_equal(table["status"], "ok")).as_py() or 0
    unlabelled = pc.sum(pc.and_(pc.equal(table["status"], "ok"), pc.is_null(table["label"]))).as_py() or 0
    table = table.filter((pc.field("status") == "ok") & pc.field("label").is_valid()).sort_by("item_id")
    if not table.num_rows:
        raise UsageError(
            f"{embeddings} holds no labelled embeddings: index with a layout that has labels (artifact, csv, ...)"
        )
    vectors = table["embedding"].combine_chunks()
    x = vectors.flatten().to_numpy().reshape(table.num_rows, -1)
    units = [
        unit_of(g, c) for g, c in zip(table["group_id"].to_pylist(), table["content_sha256"].to_pylist(), strict=True)
    ]
    return Labelled(
        np.asarray(table["item_id"].to_pylist(), object),
        x,
        table["label"].to_numpy().astype(np.int64),
        np.asarray(table["generator"].to_pylist(), object),
        np.asarray(units, object),
        EncoderDescription.from_json(found["encoder_description"]),
        found["precision"],
        {"errors": errors, "unlabelled": unlabelled},
    )


def _check_out(store: Store) -> None:
    names = {file.name for file in store.list("")} - {"detector.json", "detector.safetensors"}
    if names or store.folders(""):
        raise UsageError(
            f"{store.uri} holds something else ({min(names, default='folders')}): choose a new folder for --out"
        )


def _storage(store: Store) -> Store:
    """Where Ray Train keeps its checkpoints: hidden, beside the output, so on storage that all nodes share if it is."""
    parent, _, name = store.uri.rpartition("/")
    return Store(f"{parent}/.{name}.training")


def _project(head: Head, x: np.ndarray, block: int = 65_536) -> np.ndarray:
    """The head's output, a block at a time: on the way it needs several times the memory of what it gets."""
    return np.concatenate([head(torch.from_numpy(x[i : i + block])).numpy() for i in range(0, len(x), block)])


def _verdict_counts(
    y: np.ndarray, decision: np.ndarray, thresholds: tuple[Threshold, ...]
) -> dict[str, dict[str, int]]:
    verdict = verdicts(decision, thresholds)
    names = ("real", "unsure", "fake")
    return {
        kind: {n: int((verdict[y == label] == n).sum()) for n in names} for kind, label in (("real", 0), ("fake", 1))
    }
