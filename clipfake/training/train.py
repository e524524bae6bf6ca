"""The job `train`: stored embeddings -> split -> head -> SVM, calibration, thresholds -> a detector and its metrics."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch

from clipfake.audit.audit import Audit, audit_columns
from clipfake.detector.bundle import Detector
from clipfake.detector.classifiers.fitting import (
    check_calibration,
    exact_seconds,
    fit_calibrator,
    fit_svm,
    scale_gamma,
    svm_rule,
)
from clipfake.detector.heads.linear_projection import head_of, varies
from clipfake.detector.unfamiliarity import fit_reference
from clipfake.encoder import load as load_encoder
from clipfake.encoder.test_card import TOLERANCE
from clipfake.errors import UsageError
from clipfake.measures.detection_rates import detection_rates
from clipfake.measures.metrics import by_generator, macro_mean
from clipfake.measures.shift import quantiles_by_class
from clipfake.measures.split import OFFICIAL, PARTS
from clipfake.measures.thresholds import guaranteed_thresholds, rates_at, source_rates
from clipfake.onray.connection import connected
from clipfake.storage import uri as uris
from clipfake.storage.runs import versions
from clipfake.storage.store import Store, check_new
from clipfake.training.announcement import told
from clipfake.training.crossed import fit_crossed
from clipfake.training.dataset import Labelled, read_labelled
from clipfake.training.deduplication import copies_note, without_copies
from clipfake.training.head import Part, TrainedHead, train_head
from clipfake.training.models import Fitted, part_of, project
from clipfake.training.options import TrainOptions
from clipfake.training.presets import preset
from clipfake.training.search import Choice, search_svm
from clipfake.training.selection import choose
from clipfake.training.tables import metric_tables, text_alone, verdict_counts

_FILES = ("detector.json", "detector.safetensors")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """What `train` gives back. tables : part -> detector and baseline -> metrics; by_generator : of the test part."""

    detector: Detector
    head: TrainedHead | None
    tables: dict[str, dict[str, Any]]
    by_generator: dict[str, dict[str, Any]]
    sizes: dict[str, dict[str, int]]
    notes: list[str]  # what a reader of the tables must know of how it was trained


def train(embeddings: str, out: str, options: TrainOptions, say: Callable[[str], None] = log.info) -> Trained:
    """Trains a detector from the embeddings in one folder and writes its bundle into another.

    `out` must be new or hold a detector; `say` is told of each step. Raises UsageError where the embeddings cannot be
    trained on or `out` holds something else.
    """
    check_new(Store(uris.place(out)), _FILES)
    facts = ("split",) if options.duplicates == "keep" else ("split", "content_sha256")
    data = read_labelled(embeddings, views=options.views, text=options.head.fusion != "image", facts=facts)
    audited = audit_columns(embeddings)
    audited.check(options.allow_shortcuts)
    return train_on(data, out, options, say, audited)


def train_on(
    data: Labelled, out: str, options: TrainOptions, say: Callable[[str], None] = log.info, audited: Audit | None = None
) -> Trained:
    """`train` from embeddings that are read already; audited : what the audit found of them, for the record."""
    store = Store(uris.place(out))
    check_new(store, _FILES)
    notes = _notes(options) + [f"audit: {warning}" for warning in (audited.warnings if audited else [])]
    copies = None
    if options.duplicates != "keep":
        data, copies = without_copies(data, options.duplicates)
        notes.append(copies_note(copies))
    for note in notes:
        say(note)
    if options.split == "grouped" and {"train", "test"} <= set(data.facts.get("split", ())):
        notes.append("the data set has a split of its own, which is not used: --split official takes it")
    part = data.parts(options.split, options.head.seed)
    rows = {name: np.flatnonzero(part == name) for name in PARTS}
    sizes = part_sizes(data.y, rows)
    say(
        "split: "
        + ", ".join(f"{name} {size['n']} ({size['reals']} real, {size['fakes']} fake)" for name, size in sizes.items())
    )

    check_calibration(options.calibration, data.y[rows["val"]])
    # For the test card; refuses weights that are not the ones of `data`.
    encoder = load_encoder(data.encoder, precision="fp32")
    parts = {name: part_of(data.take(r)) for name, r in rows.items()}
    if parts["train"].text is not None and not varies(parts["train"].text):
        notes.append("all items have one text, which can add nothing")
    storage, trained, candidates = _storage(store), None, None
    if options.model == "auto":
        known = data.take(np.sort(np.concatenate([rows["train"], rows["val"]])))
        chosen, candidates = choose(known, options, say)
        notes.append(f"model {chosen}, chosen on train and validation rows")
        options = replace(options, model=chosen)
    if options.model == "head":
        trained, fitted = _fit_head(parts, options, storage, say)
    else:
        fitted = fit_crossed(data, rows, options.model, options, say)
    learned, decision = parts["train"], fitted.decision
    own = data.view[rows["train"]] == 0  # augmented views are not what is scored later
    reference = fit_reference(
        learned.x[own], learned.y[own], learned.generator[own].tolist(), parts["val"].x, options.head.seed
    )

    units = {name: data.unit[mine] for name, mine in rows.items()}
    tables = metric_tables(parts, decision, fitted.calibrator, options.calibration, units)
    if data.text is not None:
        notes += text_alone(parts, tables, units)
    test = parts["test"]
    generators = by_generator(
        test.y,
        test.generator.tolist(),
        decision["test"],
        fitted.calibrator.probability(decision["test"]),
        decision["test"] > 0,
        units["test"],
    )
    detector = Detector(
        encoder=encoder.description.to_dict(),
        encoder_fingerprint=encoder.description.fingerprint,
        head=fitted.head,
        classifier=fitted.classifier,
        calibrator=fitted.calibrator,
        thresholds=fitted.thresholds,
        reference=reference,
        test_card=encoder.test_card_embedding(),
        test_card_tolerance=TOLERANCE,
        metrics={
            **{name: table["detector"] for name, table in tables.items()},
            "test_by_generator": generators,
            "val_quantiles": quantiles_by_class(decision["val"], parts["val"].y),
            "test_macro": macro_mean(generators),
            "detection_rates": detection_rates(
                fitted.thresholds, test.y, decision["test"], units["test"], test.generator
            ),
            "at_thresholds": rates_at(fitted.thresholds, test.y, decision["test"]),
            "source_rates": fitted.source_rates,
            "verdicts": verdict_counts(test.y, decision["test"], fitted.thresholds),
            "text_alone": {name: table["text"] for name, table in tables.items() if "text" in table},
        },
        baseline={name: table["baseline"] for name, table in tables.items()},
        provenance={
            "encoder": data.encoder.name,
            "precision": data.precision,
            "trained_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "data_sha256": data.digest,
            "left_out": data.left_out,
            "audit": audited.described() if audited else None,
            "duplicates": copies,
            "notes": notes,
            "sizes": sizes,
            "generators": sorted({str(name) for name in data.generator}),
            "options": asdict(options),
            "model": options.model,
            "candidates": candidates,
            **_history(trained),
            "svm": {
                "rule": fitted.rule,
                "C": fitted.cost,
                "search": fitted.choice and fitted.choice.described(),
            },
            "versions": versions(),
        },
        text=data.text_input,
    )
    detector.save(store)
    storage.delete_tree("")
    return Trained(detector, trained, tables, generators, sizes, notes)


def _fit_head(
    parts: Mapping[str, Part], options: TrainOptions, storage: Store, say: Callable[[str], None]
) -> tuple[TrainedHead, Fitted]:
    """The head by Ray Train, and what follows it."""
    learned = parts["train"]
    with connected(options.num_cpus):
        trained = train_head(learned, parts["val"], options.head, options.workers, storage)
    say(
        f"head: best epoch {trained.best_epoch + 1} of {len(trained.history)}, "
        f"validation loss {trained.history[trained.best_epoch]['val_loss']:.4f}"
    )

    def searched(x: np.ndarray) -> Choice:
        units = [] if learned.unit is None else learned.unit.tolist()
        with connected(options.num_cpus):
            return search_svm(x, learned.y, learned.generator.tolist(), units, options.head.seed, say)

    say(f"SVM: {svm_rule(len(learned.y))}")
    return trained, fit_parts(parts, trained, options, searched if options.search else None, say)


def _history(trained: TrainedHead | None) -> dict[str, Any]:
    """How the head's training went, for the record; nothing without a head."""
    if trained is None:
        return {"history": [], "best_epoch": None, "workers": []}
    return {"history": trained.history, "best_epoch": trained.best_epoch, "workers": list(trained.workers)}


def part_sizes(y: np.ndarray, rows: Mapping[str, np.ndarray]) -> dict[str, dict[str, int]]:
    """part -> its numbers of items, reals and fakes. Raises UsageError where one has no items of a class."""
    sizes = {
        name: {"n": len(mine), "reals": int((y[mine] == 0).sum()), "fakes": int((y[mine] == 1).sum())}
        for name, mine in rows.items()
    }
    for name, size in sizes.items():
        if not size["reals"] or not size["fakes"]:
            raise UsageError(
                f"the {name} part of the split has {size['reals']} real and {size['fakes']} fake items: training needs "
                "labelled items of both classes (or smaller groups)"
            )
    return sizes


def fit_parts(
    parts: Mapping[str, Part],
    trained: TrainedHead,
    options: TrainOptions,
    search: Callable[[np.ndarray], Choice] | None = None,
    say: Callable[[str], None] = log.debug,
) -> Fitted:
    """All that follows the head: the SVM on the part `train`, calibrator and thresholds on `val`. Needs no Ray.

    search : gives C and gamma for the head's output on the part `train`; without, C is the options' and gamma "scale"
    say : is told how long the SVM is expected to take where that is long, and then that it goes on
    """
    # The order of a sum depends on the number of threads, and the detector's fingerprint on it.
    torch.set_num_threads(1)
    head = head_of({name: torch.tensor(array) for name, array in trained.state.items()}, options.head.fusion)
    projected = {name: project(head, p) for name, p in parts.items()}
    learned, val = parts["train"], parts["val"]
    choice = search(projected["train"]) if search else None
    cost, gamma = (choice.C, choice.gamma) if choice else (options.C, scale_gamma(projected["train"]))
    with told("SVM", exact_seconds(projected["train"], learned.y, cost, gamma, options.head.seed), say):
        svm = fit_svm(projected["train"], learned.y, cost, gamma, learned.generator.tolist(), options.head.seed)
    decision = {name: svm.decision(torch.from_numpy(x)).numpy() for name, x in projected.items()}
    calibrator = fit_calibrator(decision["val"], val.y, options.calibration)
    real = val.y == 0
    unit = np.arange(len(val.y)) if val.unit is None else val.unit
    reals = decision["val"][real], unit[real], val.generator[real]
    thresholds = guaranteed_thresholds(*reals)
    rates = {"validation": source_rates(thresholds, *reals)}
    rule = svm_rule(len(learned.y))
    return Fitted(head, svm, calibrator, thresholds, decision, cost, rule, rates, choice)


def _notes(options: TrainOptions) -> list[str]:
    inferred = [name for name in preset(options.preset).inferred if name not in options.overridden]
    values = asdict(options) | asdict(options.head)
    note = f"preset {options.preset}"
    if inferred:
        note += f"; inferred, since its source does not state it: {', '.join(f'{n} {values[n]}' for n in inferred)}"
        note += ", the RBF kernel, Adam and how triplets are drawn"
    if options.overridden:
        note += f"; set otherwise: {', '.join(f'{name} {values[name]}' for name in options.overridden)}"
    if options.split == "grouped":
        return [note]
    if options.split == OFFICIAL:
        return [note, "split as the data set says; a unit that lies in several parts stays in the last of them"]
    return [note, "split as the source did: stratified by label only; duplicates and scenes may be on both sides"]


def _storage(store: Store) -> Store:
    """Where Ray Train keeps its checkpoints: hidden, beside the output, so on storage that all nodes share if it is."""
    parent, _, name = store.uri.rpartition("/")
    return Store(f"{parent}/.{name}.training")
