"""The job `reproduce`: the source's nine experiments, from a folder in ArtiFact's layout to a page with all figures."""

import json
import logging
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clipfake.corpus.captions import TextTemplate
from clipfake.corpus.layouts import LayoutOptions
from clipfake.corpus.manifest import write_manifest
from clipfake.detector.bundle import Detector
from clipfake.detector.heads.linear_projection import FUSIONS
from clipfake.detector.text_input import TextInput
from clipfake.errors import NoTextTowerError, UsageError
from clipfake.measures.classification import classification
from clipfake.measures.geometry import principal_components
from clipfake.measures.split import PARTS
from clipfake.onray.connection import connected
from clipfake.reproduce.options import ReproduceOptions
from clipfake.reproduce.page import figures, overview_figure, page, part_of_components, tables_csv, variance
from clipfake.reproduce.reported import TOTALS
from clipfake.scoring.embed import embed
from clipfake.scoring.options import EmbedOptions, ScanOptions
from clipfake.scoring.unit_runner import Progress
from clipfake.storage import uri as uris
from clipfake.storage.embeddings import stored_embeddings
from clipfake.storage.footers import read_footer
from clipfake.storage.store import Store, check_new
from clipfake.training.dataset import Labelled, read_labelled
from clipfake.training.models import part_of, project
from clipfake.training.train import TrainOptions, train_on

log = logging.getLogger(__name__)

ABOUT, RESULT, SPLIT = "reproduce.json", "experiment.json", "split.parquet"


def reproduce(
    artifact: str, out: str, encoder: str, options: ReproduceOptions,
    progress: Callable[[int], Progress], say: Callable[[str], None] = log.info,
) -> list[dict[str, Any]]:  # fmt: skip
    """Runs the experiments into the folder `out` and returns what their `experiment.json` hold.

    Again on the same folder, it does what is not there yet. Raises UsageError where `out` is of other experiments or
    `artifact` has no such folders.
    """
    store = Store(uris.place(out))
    folders = {name: _folder(Store(uris.place(artifact)), name) for name in options.sets}
    _check_out(store, {"artifact": uris.place(artifact), "encoder": encoder, **asdict(replace(options, num_cpus=None))})
    with connected(options.num_cpus):
        embeddings = store.uri_of("embeddings")
        for name, folder in folders.items():
            manifest = store.uri_of(f"manifests/{name}")
            write_manifest(folder, "artifact", LayoutOptions(), Store(manifest))
            _embed(manifest, encoder, embeddings, options, progress)
        data = {"image": read_labelled(embeddings)}
        text = TextInput.from_footer(read_footer(stored_embeddings(embeddings).footer))
        if text is None:
            say("the embeddings hold no text: only the three experiments on images are run")
        else:
            if text.template != TextTemplate.parse(options.text).template:
                raise UsageError(f"{embeddings} holds the text {text.template!r}: give it as --text, or a new --out")
            data |= dict.fromkeys(FUSIONS[1:], read_labelled(embeddings, text=True))
        experiments = [
            _experiment(store.below(f"{variant}-{name}"), chosen, variant, slot, name, folders, options, say)
            for variant, chosen in data.items()
            for slot, name, folders in options.data()
        ]
    store.write_bytes("overview.png", overview_figure(experiments))
    store.write_bytes("tables.csv", tables_csv(experiments).encode())
    store.write_bytes("tables.json", json.dumps(experiments, indent=1).encode())
    store.write_bytes("README.md", page(experiments, _remarks(experiments, options)).encode())
    return experiments


def _embed(
    manifest: str, encoder: str, embeddings: str, options: ReproduceOptions, progress: Callable[[int], Progress]
) -> None:
    """Images, and their texts where the encoder has a text tower; only what is not there yet."""
    scan = ScanOptions(precision=options.precision)
    try:
        embed(manifest, encoder, embeddings, scan, progress, EmbedOptions(text=options.text))
    except NoTextTowerError:
        embed(manifest, encoder, embeddings, scan, progress, EmbedOptions())


def _folder(artifact: Store, name: str) -> str:
    """Where the set lies: below ArtiFact's root, or below one of its folders (a mirror has Real/ and Fake/)."""
    places = [name, *(f"{parent}/{name}" for parent in artifact.folders())]
    found = [place for place in places if artifact.exists(f"{place}/metadata.csv")]
    if len(found) != 1:
        raise UsageError(
            f"{artifact.uri} has {len(found) or 'no'} folders {name} with a metadata.csv: give --artifact the root of "
            "ArtiFact and --sets two of its folders"
        )
    return artifact.uri_of(found[0])


def _check_out(store: Store, about: dict[str, Any]) -> None:
    text = json.dumps(about, indent=1, sort_keys=True)
    if store.exists(ABOUT):
        if store.read_bytes(ABOUT).decode() != text:
            raise UsageError(
                f"{store.uri} holds experiments with other options ({ABOUT} says which): choose a new --out"
            )
    else:
        check_new(store)
        store.write_bytes(ABOUT, text.encode())


def _experiment(
    store: Store, data: Labelled, variant: str, slot: str, name: str, sets: tuple[str, ...],
    options: ReproduceOptions, say: Callable[[str], None],
) -> dict[str, Any]:  # fmt: skip
    data = data.take(np.isin(data.generator.astype(str), sets))
    training = TrainOptions.of_preset("source", fusion=variant, seed=options.seed)
    detector = _trained(store.below("detector"), data, training, say)
    if store.exists(RESULT):
        found: dict[str, Any] = json.loads(store.read_bytes(RESULT))
        if found["fingerprint"] == detector.fingerprint:
            return found
    part = data.parts(training.split, options.seed)
    rows = {one: np.flatnonzero(part == one) for one in PARTS}
    scores = detector.score(data.x, data.text)
    called, y = scores.decision > 0, {one: data.y[mine] for one, mine in rows.items()}
    confusion = {one: _confusion(y[one], called[mine]) for one, mine in rows.items()}
    provenance = detector.provenance
    vectors = {one: project(detector.head, part_of(data.take(mine))) for one, mine in rows.items()}
    components = principal_components(vectors[part_of_components(variant)])
    result = {
        "name": f"{variant}-{name}",
        "title": f"{_TITLES[variant]}, {' and '.join(sets)}, {data.encoder.name}",
        "variant": variant,
        "slot": slot,
        "data": " + ".join(sets),
        "encoder": data.encoder.name,
        "trained_encoder": data.encoder.trained,
        "fingerprint": detector.fingerprint,
        "sizes": {one: len(mine) for one, mine in rows.items()},
        "confusion": confusion,
        "tables": {one: classification(counts) for one, counts in confusion.items()},
        "baseline": detector.baseline["test"]["accuracy"],
        "text_alone": detector.metrics["text_alone"].get("test", {}).get("accuracy"),
        "margin": training.head.margin,
        "history": provenance["history"],
        "best_epoch": provenance["best_epoch"],
        **variance(components),
        "notes": provenance["notes"],
        "left_out": provenance["left_out"],
    }
    for figure, content in figures(vectors, y, components, result):
        store.write_bytes(f"{figure}.png", content)
    columns = {"item_id": data.item_id.tolist(), "label": data.y.astype(np.int8), "part": part.tolist()}
    columns |= {"decision": scores.decision, "probability": scores.probability}
    with store.writing(SPLIT) as sink:
        pq.write_table(pa.table(columns), sink, compression="zstd")
    store.write_bytes(RESULT, json.dumps(result, indent=1).encode())  # the last: it says that the others are there
    say(f"{result['name']}: test accuracy {result['tables']['test']['accuracy']['value']:.4f}")
    return result


_TITLES = {"image": "image", "sum": "image + text, sum", "product": "image + text, product"}


def _trained(store: Store, data: Labelled, options: TrainOptions, say: Callable[[str], None]) -> Detector:
    """The detector that is there if it was trained on these data with these options, else a new one."""
    if store.exists("detector.json"):
        found = Detector.load(store)
        asked, given = (json.dumps(of, sort_keys=True) for of in (asdict(options), found.provenance["options"]))
        if asked == given and found.provenance["data_sha256"] == data.digest:
            return found
    return train_on(data, store.uri, options, say).detector


def _confusion(y: np.ndarray, called: np.ndarray) -> dict[str, int]:
    pairs = {"tn": (0, False), "fp": (0, True), "fn": (1, False), "tp": (1, True)}
    return {key: int(((y == label) & (called == fake)).sum()) for key, (label, fake) in pairs.items()}


def _remarks(experiments: list[dict[str, Any]], options: ReproduceOptions) -> list[str]:
    remarks = []
    if not experiments[0]["trained_encoder"]:
        remarks.append("The encoder is UNTRAINED: the figures say that the way runs, not how well CLIP detects.")
    other = {
        one["data"]: sum(one["sizes"].values())
        for one in experiments
        if sum(one["sizes"].values()) != TOTALS[one["slot"]]
    }
    if options.sets != ("cycle_gan", "pro_gan") or other:
        sizes = ", ".join(f"{name} has {count:,} items" for name, count in other.items())
        remarks.append(f"These are not the source's data ({sizes}): its figures stand beside them for the layout only.")
    if len(experiments) == 3:
        remarks.append("The embeddings hold no text: the six experiments on image and text were not run.")
    else:
        remarks.append(f"The text is {options.text!r}; the source does not say what text it used.")
    return remarks
