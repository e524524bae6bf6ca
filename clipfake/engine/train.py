"""The job `train`: stored embeddings -> split -> head -> SVM, calibration, thresholds -> a detector and its metrics."""

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

import numpy as np
import torch

from clipfake.corpus import uri as uris
from clipfake.corpus.store import Store
from clipfake.detector.bundle import Detector
from clipfake.detector.calibration import METHODS
from clipfake.detector.familiarity import fit_reference
from clipfake.detector.fit import check_calibration, fit_calibrator, fit_linear_baseline, fit_svm, svm_rule
from clipfake.detector.head import FusionHead, Head, head_of, varies
from clipfake.detector.thresholds import Threshold, fit_thresholds, rates_at, verdicts
from clipfake.encoder.card import TOLERANCE
from clipfake.encoder.encoder import Encoder
from clipfake.engine.cluster import connected
from clipfake.engine.head_training import HeadOptions, Part, TrainedHead, train_head
from clipfake.engine.labelled import Labelled, read_labelled
from clipfake.engine.presets import preset
from clipfake.engine.record import versions
from clipfake.engine.search import search_svm
from clipfake.errors import UsageError
from clipfake.evaluation.metrics import by_generator, macro_mean, metrics
from clipfake.evaluation.shift import quantiles_by_class
from clipfake.evaluation.split import PARTS, SPLITS

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainOptions:
    """How a detector is trained.

    C : of the SVM; gamma is scikit-learn's "scale" on the head's output
    search : find C and gamma by cross-validation within the training part instead
    calibration : sigmoid, temperature or isotonic
    workers : of Ray Train; the result is the same up to rounding for any number
    split : a name of SPLITS
    views : whether the train part takes augmented views where there are any
    preset, overridden : for the record: the preset, and which of its values an option replaced
    """

    head: HeadOptions = field(default_factory=HeadOptions)
    C: float = 1.0
    workers: int = 1
    num_cpus: int | None = None
    search: bool = False
    calibration: str = "sigmoid"
    split: str = "grouped"
    views: bool = True
    preset: str = "recommended"
    overridden: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.workers < 1 or self.C <= 0:
            raise UsageError("--workers must be at least 1 and --c above 0")
        if self.calibration not in METHODS:
            raise UsageError(f"there is no calibration {self.calibration!r}: choose one of {', '.join(METHODS)}")
        if self.split not in SPLITS:
            raise UsageError(f"there is no split {self.split!r}: choose one of {', '.join(SPLITS)}")

    @classmethod
    def of_preset(cls, name: str, **given: Any) -> "TrainOptions":
        """The options of a preset. given : fields of this class and of HeadOptions; None leaves the preset's value."""
        known = preset(name).values
        given = {key: value for key, value in given.items() if value is not None}
        values = {**known, **given}
        if values["split"] == "source" and values.get("fusion", "image") != "image":
            values["split"] = "source-text"
        head = {field.name: values.pop(field.name) for field in fields(HeadOptions) if field.name in values}
        overridden = tuple(sorted(key for key in given if key in known and known[key] != given[key]))
        return cls(HeadOptions(**head), **values, preset=name, overridden=overridden)


@dataclass(frozen=True)
class Trained:
    """What `train` gives back. tables : part -> detector and baseline -> metrics; by_generator : of the test part."""

    detector: Detector
    head: TrainedHead
    tables: dict[str, dict[str, Any]]
    by_generator: dict[str, dict[str, Any]]
    sizes: dict[str, dict[str, int]]
    notes: list[str]  # what a reader of the tables must know of how it was trained


def train(embeddings: str, out: str, options: TrainOptions, say: Callable[[str], None] = log.info) -> Trained:
    """Trains a detector from the embeddings in one folder and writes its bundle into another.

    `out` must be new or hold a detector; `say` is told of each step. Raises UsageError where the embeddings cannot be
    trained on or `out` holds something else.
    """
    _check_out(Store(uris.place(out)))
    data = read_labelled(embeddings, views=options.views, text=options.head.fusion != "image")
    return train_on(data, out, options, say)


def train_on(data: Labelled, out: str, options: TrainOptions, say: Callable[[str], None] = log.info) -> Trained:
    """`train` from embeddings that are read already."""
    store = Store(uris.place(out))
    _check_out(store)
    notes = _notes(options)
    for note in notes:
        say(note)
    part = data.parts(options.split, options.head.seed)
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
    # For the test card; refuses weights that are not the ones of `data`.
    encoder = Encoder.load(data.encoder, precision="fp32")
    parts = {name: part_of(data.take(r)) for name, r in rows.items()}
    if parts["train"].text is not None and not varies(parts["train"].text):
        notes.append("all items have one text, which can add nothing")
    storage = _storage(store)
    with connected(options.num_cpus):
        trained = train_head(parts["train"], parts["val"], options.head, options.workers, storage)
    say(
        f"head: best epoch {trained.best_epoch + 1} of {len(trained.history)}, "
        f"validation loss {trained.history[trained.best_epoch]['val_loss']:.4f}"
    )

    head = head_of({name: torch.tensor(array) for name, array in trained.state.items()}, options.head.fusion)
    # The order of a sum depends on the number of threads, and the detector's fingerprint on it.
    torch.set_num_threads(1)
    projected = {name: project(head, p) for name, p in parts.items()}
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
    own = data.view[rows["train"]] == 0  # augmented views are not what is scored later
    reference = fit_reference(
        learned.x[own], learned.y[own], learned.generator[own].tolist(), parts["val"].x, options.head.seed
    )

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
    if data.text is not None:
        notes += _text_alone(parts, tables)
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
            "val_quantiles": quantiles_by_class(decision["val"], parts["val"].y),
            "test_macro": macro_mean(generators),
            "at_thresholds": rates_at(thresholds, test.y, decision["test"]),
            "verdicts": _verdict_counts(test.y, decision["test"], thresholds),
            "text_alone": {name: table["text"] for name, table in tables.items() if "text" in table},
        },
        baseline={name: table["baseline"] for name, table in tables.items()},
        provenance={
            "encoder": data.encoder.name,
            "precision": data.precision,
            "trained_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "data_sha256": data.digest,
            "left_out": data.left_out,
            "notes": notes,
            "sizes": sizes,
            "generators": sorted({str(name) for name in data.generator}),
            "options": asdict(options),
            "history": trained.history,
            "best_epoch": trained.best_epoch,
            "svm": {"rule": svm_rule(len(learned.y)), "C": cost, "search": searched and searched.described()},
            "versions": versions(),
        },
        text=data.text_input,
    )
    detector.save(store)
    storage.delete_tree("")
    return Trained(detector, trained, tables, generators, sizes, notes)


def part_of(data: Labelled) -> Part:
    """The rows as the head takes them."""
    text = None if data.text is None else data.text.astype(np.float32, copy=False)
    return Part(data.x.astype(np.float32, copy=False), data.y, data.generator, text)


def project(head: Head | FusionHead, part: Part, block: int = 65_536) -> np.ndarray:
    """The head's output, a block at a time: on the way it needs several times the memory of what it gets."""
    starts = range(0, len(part.y), block)
    return np.concatenate([head(*map(torch.from_numpy, part.inputs(slice(i, i + block)))).numpy() for i in starts])


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
    return [note, "split as the source did: stratified by label only; duplicates and scenes may be on both sides"]


def _text_alone(parts: dict[str, Part], tables: dict[str, dict[str, Any]]) -> list[str]:
    """Adds the row `text`, a linear SVM on the text embedding alone, to the tables; a note where it tells the label."""
    texts = {name: np.asarray(p.text) for name, p in parts.items()}
    model = fit_linear_baseline(texts["train"], parts["train"].y)
    decision = {name: model.decision(torch.from_numpy(text)).numpy() for name, text in texts.items()}
    calibrator = fit_calibrator(decision["val"], parts["val"].y)
    for name, p in parts.items():
        called = decision[name] > 0
        tables[name]["text"] = metrics(p.y, decision[name], calibrator.probability(decision[name]), called)
    m = tables["test"]["text"]
    if m["accuracy_low"] <= max(m["reals"], m["fakes"]) / m["n"]:
        return []
    return [f"the text alone tells real from fake with accuracy {m['accuracy']:.3f} on the test part: it gives it away"]


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


def _verdict_counts(
    y: np.ndarray, decision: np.ndarray, thresholds: tuple[Threshold, ...]
) -> dict[str, dict[str, int]]:
    verdict = verdicts(decision, thresholds)
    names = ("real", "unsure", "fake")
    return {
        kind: {n: int((verdict[y == label] == n).sum()) for n in names} for kind, label in (("real", 0), ("fake", 1))
    }
