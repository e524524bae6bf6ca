"""The job `train`: stored embeddings -> split -> model, calibration, thresholds -> a detector and its metrics."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from clipfake.audit.audit import Audit, audit_columns
from clipfake.detector.bundle import ARRAYS, DESCRIPTION, Detector
from clipfake.detector.classifiers.fitting import check_calibration
from clipfake.detector.heads.linear_projection import varies
from clipfake.detector.unfamiliarity import fit_reference
from clipfake.encoder import load as load_encoder
from clipfake.encoder.test_card import TOLERANCE
from clipfake.errors import UsageError
from clipfake.measures.detection_rates import detection_rates
from clipfake.measures.metrics import by_generator, macro_mean
from clipfake.measures.shift import quantiles_by_class
from clipfake.measures.split import OFFICIAL, PARTS
from clipfake.measures.thresholds import rates_at
from clipfake.onray.connection import connected
from clipfake.storage import uri as uris
from clipfake.storage.runs import versions
from clipfake.storage.store import Store, check_new
from clipfake.training.crossed import Fitted, fit_model
from clipfake.training.dataset import Labelled, read_labelled
from clipfake.training.deduplication import copies_note, without_copies
from clipfake.training.head import SplitPart, TrainedHead, train_head
from clipfake.training.models import RECIPES, HeadRecipe, Model, RbfRecipe, Recipe, part_of
from clipfake.training.options import HeadOptions, TrainOptions
from clipfake.training.presets import preset
from clipfake.training.search import Choice, search_svm
from clipfake.training.selection import choose
from clipfake.training.tables import Tables, metric_tables, text_alone, verdict_counts

_FILES = (DESCRIPTION, ARRAYS)
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
    rows = _rows(data, options, say)
    # For the test card; refuses weights that are not the ones of `data`.
    encoder = load_encoder(data.encoder, precision="fp32")
    parts = {name: part_of(data.take(mine)) for name, mine in rows.items()}
    if parts["train"].text is not None and not varies(parts["train"].text):
        notes.append("all items have one text, which can add nothing")
    options, candidates = _chosen(data, rows, options, notes, say)
    storage = _storage(store)
    fitted = fit_model(data, rows, _recipe(options, storage, say), options, say)
    units = {name: data.unit[mine] for name, mine in rows.items()}
    tables = metric_tables(parts, fitted.decision, fitted.calibrator, options.calibration, units)
    if data.text is not None:
        notes += text_alone(parts, tables, units)
    sizes, metrics = part_sizes(data.y, rows), _metrics(fitted, parts, units, tables)
    learned, own = parts["train"], data.view[rows["train"]] == 0  # augmented views are not what is scored later
    detector = Detector(
        encoder=encoder.description.to_dict(),
        encoder_fingerprint=encoder.description.fingerprint,
        head=fitted.model.head,
        classifier=fitted.model.classifier,
        calibrator=fitted.calibrator,
        thresholds=fitted.thresholds,
        reference=fit_reference(
            learned.x[own], learned.y[own], learned.generator[own].tolist(), parts["val"].x, options.head.seed
        ),
        test_card=encoder.test_card_embedding(),
        test_card_tolerance=TOLERANCE,
        metrics=metrics,
        baseline={name: table["baseline"] for name, table in tables.items()},
        provenance={
            **_origin(data, options, fitted.model),
            "audit": audited.described() if audited else None,
            "duplicates": copies,
            "notes": notes,
            "sizes": sizes,
            "candidates": candidates,
        },
        text=data.text_input,
    )
    detector.save(store)
    storage.delete_tree("")
    return Trained(detector, fitted.model.trained, tables, metrics["test_by_generator"], sizes, notes)


def _rows(data: Labelled, options: TrainOptions, say: Callable[[str], None]) -> dict[str, np.ndarray]:
    """part -> its row numbers. Raises UsageError where a part is too small to train, calibrate or test on."""
    part = data.parts(options.split, options.head.seed)
    rows = {name: np.flatnonzero(part == name) for name in PARTS}
    sizes = part_sizes(data.y, rows).items()
    say("split: " + ", ".join(f"{name} {n['n']} ({n['reals']} real, {n['fakes']} fake)" for name, n in sizes))
    calibrates = np.concatenate([rows["val"], *([rows["train"]] if options.cross_fitted else [])])
    check_calibration(options.calibration, data.y[calibrates])
    return rows


def _chosen(
    data: Labelled, rows: Mapping[str, np.ndarray], options: TrainOptions, notes: list[str], say: Callable[[str], None]
) -> tuple[TrainOptions, Any]:
    """The options with a model in the place of "auto", and how its candidates did, for the record."""
    if options.model != "auto":
        return options, None
    known = data.take(np.sort(np.concatenate([rows["train"], rows["val"]])))
    model, candidates = choose(known, options, say)
    notes.append(f"model {model}, chosen on train and validation rows by generators left out")
    return replace(options, model=model), candidates


def _metrics(
    fitted: Fitted, parts: Mapping[str, SplitPart], units: Mapping[str, np.ndarray], tables: Tables
) -> dict[str, Any]:
    """What the detector's description says of how it did on its own data; most of it is of the test part."""
    test, decision = parts["test"], fitted.decision["test"]
    probability = fitted.calibrator.probability(decision)
    generators = by_generator(test.y, test.generator.tolist(), decision, probability, decision > 0, units["test"])
    return {
        **{name: table["detector"] for name, table in tables.items()},
        "test_by_generator": generators,
        "val_quantiles": quantiles_by_class(fitted.decision["val"], parts["val"].y),
        "test_macro": macro_mean(generators),
        "detection_rates": detection_rates(fitted.thresholds, test.y, decision, units["test"], test.generator),
        "at_thresholds": rates_at(fitted.thresholds, test.y, decision),
        "source_rates": fitted.source_rates,
        "verdicts": verdict_counts(test.y, decision, fitted.thresholds),
        "text_alone": {name: table["text"] for name, table in tables.items() if "text" in table},
    }


def _origin(data: Labelled, options: TrainOptions, model: Model) -> dict[str, Any]:
    """What a detector was made from and how, for the record."""
    return {
        "encoder": data.encoder.name,
        "precision": data.precision,
        "trained_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "data_sha256": data.digest,
        "left_out": data.left_out,
        "generators": sorted({str(name) for name in data.generator}),
        "options": asdict(options),
        "model": options.model,
        **_history(model.trained),
        "svm": {"rule": model.rule, "C": model.cost, "search": model.choice and model.choice.described()},
        "versions": versions(),
    }


def _recipe(options: TrainOptions, storage: Store, say: Callable[[str], None]) -> Recipe:
    """How the model that is named is fitted here: a head by Ray Train, its search on Ray."""
    if options.model != "head":
        return RbfRecipe(say) if options.model == "rbf" else RECIPES[options.model]

    def trained(learned: SplitPart, stops: SplitPart, head: HeadOptions) -> TrainedHead:
        with connected(options.num_cpus):
            return train_head(learned, stops, head, options.workers, storage)

    def searched(x: np.ndarray, y: np.ndarray, generators: list[str], units: list[str], seed: int) -> Choice:
        with connected(options.num_cpus):
            return search_svm(x, y, generators, units, seed, say)

    return HeadRecipe(trained, searched if options.search else None, say=say)


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


def _notes(options: TrainOptions) -> list[str]:
    inferred = [name for name in preset(options.preset).inferred if name not in options.overridden]
    values = asdict(options) | asdict(options.head)
    note = f"preset {options.preset}"
    if inferred:
        note += f"; inferred, since its source does not state it: {', '.join(f'{n} {values[n]}' for n in inferred)}"
        note += ", the RBF kernel, Adam, a head of one linear layer and where it normalises"
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
