"""The job `evaluate`: stored embeddings and a detector -> tables by generator, of the detector and of retrainings.

The dict that `evaluate` returns, and `evaluation.json` holds (JSON values; a number is None where it is undefined):

    version : of clipfake                      made_at : UTC, ISO 8601
    detector : {place, fingerprint, encoder, encoder_trained (bool), precision, trained_at, generators [names],
        thresholds [{fpr, decision, reals, fpr_low, fpr_high}]}
    embeddings : {place, data_sha256, items, reals, fakes, units, grouped (whether any has a group_id),
        left_out {errors, unlabelled}, errors {generator: items without an embedding}}
    families : {generator: family}             notes : [sentences that a reader of the tables must know]
    worst : {protocol, seed, trained_on, tested_on, balanced_accuracy and its _low and _high, auc}, or None
    protocols : {name of PROTOCOLS: {
        about : what trains and what tests, in a sentence
        cells : [{seed, trained_on, tested_on, error (why there is no detector), and where it is None all of cells.cell;
            in `own` also errors, roc, reliability; elsewhere also train_reals, train_fakes}]
        macro : {which cells: plain means over them of balanced_accuracy, real_accuracy, fake_accuracy, auc, ap, ...}
        seeds : [{trained_on, tested_on, seeds, and of the same measures {mean, sd}}], where there are several
        real_sources : as cells.real_sources gives them, in `own` only }}
    robustness, adversarial : where they were asked for, as clipfake.evaluation.robustness and .adversarial give them

`trained_on` and `tested_on` are generators, families, or "(all)"; of `own`, `trained_on` is "the detector".
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow.dataset as pads

from clipfake import __version__
from clipfake.detector.bundle import Detector
from clipfake.detector.inspection import load
from clipfake.errors import UsageError
from clipfake.evaluation.families import families, read_families
from clipfake.evaluation.options import PROTOCOLS, EvaluateOptions
from clipfake.evaluation.own_protocol import own_parts, own_section
from clipfake.evaluation.retrained_protocols import retrained_sections
from clipfake.measures.cells import worst
from clipfake.storage import uri as uris
from clipfake.storage.embeddings import newest_rows, stored_embeddings
from clipfake.storage.store import Store
from clipfake.training.dataset import Labelled, read_labelled
from clipfake.training.options import TrainOptions

log = logging.getLogger(__name__)

Section = Callable[[list[str]], dict[str, Any]]  # item_ids that the detector was not trained on -> a section


def evaluate(
    embeddings: str, detector: str, options: EvaluateOptions,
    further: Mapping[str, Section] | None = None, say: Callable[[str], None] = log.info,
) -> dict[str, Any]:  # fmt: skip
    """Evaluates the detector at `detector` on the labelled embeddings at `embeddings`; gives the dict described above.

    further : name -> what makes a further section of the result; say : is told of each step

    Nothing is chosen on what is tested: the call is the sign of the decision, the verdict that of the detector's
    thresholds. Raises UsageError where the two do not belong together.
    """
    bundle = load(detector)
    training = TrainOptions.of_record(bundle.provenance.get("options", {}))
    text, facts = training.head.fusion != "image", ("category", "group_id", "split")
    data = read_labelled(embeddings, views=training.views, text=text, facts=facts)
    bundle.check_encoder(data.encoder.fingerprint)
    if bundle.text is not None:
        bundle.text.check(data.text_input)
    names = np.array([name or "" for name in data.generator], object)
    own_families = read_families(_text_at(options.families)) if options.families else None
    family = families(names[data.y == 1].tolist(), own_families)
    result: dict[str, Any] = {
        "version": __version__,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "detector": _about_detector(bundle, detector),
        "embeddings": _about_embeddings(data, embeddings),
        "families": family,
        "notes": _notes(data, bundle),
        "protocols": {},
    }
    if "own" in options.protocols:
        own, notes = own_section(bundle, data, names, training, result["embeddings"]["errors"])
        result["protocols"]["own"] = own
        result["notes"] += notes
    retrained = [name for name in PROTOCOLS if name in options.protocols and name != "own"]
    seeds = options.seeds or (training.head.seed,)
    result["protocols"] |= retrained_sections(
        data, names, training, retrained, seeds, family, options.by_family, options.num_cpus, say
    )
    result["worst"] = _worst(result["protocols"])
    if further:
        untrained = data.item_id[own_parts(bundle, data, training)[0] == "test"].tolist()
        result |= {name: section(untrained) for name, section in further.items()}
    return result


def _worst(protocols: Mapping[str, Any]) -> dict[str, Any] | None:
    keys = ("seed", "trained_on", "tested_on", "balanced_accuracy", "balanced_accuracy_low", "balanced_accuracy_high",
            "auc")  # fmt: skip
    cells = [{"protocol": name, **one} for name, section in protocols.items() for one in section["cells"]]
    found = worst(cells)
    return found and {key: found[key] for key in ("protocol", *keys)}


def _about_detector(bundle: Detector, place: str) -> dict[str, Any]:
    known, weights = bundle.provenance, bundle.encoder.get("weights")
    return {
        "place": place,
        "fingerprint": bundle.fingerprint,
        "encoder": known.get("encoder", f"{bundle.encoder.get('arch')}/{weights}"),
        "encoder_trained": weights != "untrained",
        "precision": known.get("precision"),
        "trained_at": known.get("trained_at"),
        "generators": known.get("generators", []),
        "thresholds": [
            {"fpr": t.fpr, "decision": t.decision, "reals": t.reals}
            | dict(zip(("fpr_low", "fpr_high"), t.fpr_interval(), strict=True))
            for t in bundle.thresholds
        ],
    }


def _about_embeddings(data: Labelled, place: str) -> dict[str, Any]:
    images = data.view == 0
    return {
        "place": place,
        "data_sha256": data.digest,
        "items": int(images.sum()),
        "reals": int((data.y[images] == 0).sum()),
        "fakes": int((data.y[images] == 1).sum()),
        "units": len(set(data.unit)),
        "grouped": any(group is not None for group in data.facts["group_id"]),
        "left_out": data.left_out,
        "errors": _errors(place),
    }


def _errors(place: str) -> dict[str, int]:
    """Generator -> items without an embedding: they have no score, and are in no table but as this count."""
    failed = (pads.field("status") != "ok") & (pads.field("view") == 0)
    found = newest_rows(stored_embeddings(uris.place(place))).to_table(columns=["generator"], filter=failed)
    return dict(sorted(Counter(name or "" for name in found["generator"].to_pylist()).items()))


def _notes(data: Labelled, bundle: Detector) -> list[str]:
    notes = []
    if not data.encoder.trained:
        notes.append("the encoder is UNTRAINED (random weights): the figures say that the way runs, not how well CLIP "
                     "detects")  # fmt: skip
    if all(group is None for group in data.facts["group_id"]):
        notes.append("no item has a group_id: exact duplicates stay together, but frames of one video or pictures of "
                     "one scene may be on both sides of a split (`clipfake index --group-by`)")  # fmt: skip
    if not bundle.provenance.get("options"):
        notes.append("the detector does not say how it was trained: what is retrained is so by the defaults")
    return notes


def _text_at(place: str) -> str:
    folder, _, name = uris.place(place).rpartition("/")
    try:
        return Store(folder).read_bytes(name).decode()
    except (FileNotFoundError, UnicodeDecodeError) as error:
        raise UsageError(f"--families: {place} cannot be read as text ({type(error).__name__})") from None
