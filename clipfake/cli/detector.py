"""`clipfake detector show|verify|diff|add-decoder`: each a few lines over clipfake.detector.inspection."""

from typing import Annotated, Any

import typer

from clipfake.cli.console import print_json, print_table
from clipfake.cli.metrics import UNTRAINED, print_candidates, print_generators, print_metrics, print_thresholds
from clipfake.cli.options import Json, MovedEncoder, Out, Prevalence
from clipfake.errors import UsageError

detector_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Show, verify or compare detectors, or add a decoder."
)


@detector_app.command()
def show(
    place: Annotated[str, typer.Argument(help="Folder that `clipfake train` wrote.", metavar="DETECTOR")],
    prevalence: Prevalence = None,
    as_json: Json = False,
) -> None:
    """Show what a detector is: encoder, training data, metrics and the baseline's, thresholds with intervals."""
    from clipfake.detector import inspection
    from clipfake.measures.thresholds import check_prevalence

    check_prevalence(prevalence)
    found = inspection.load(place)
    if as_json:
        print_json(inspection.summary(found, prevalence))
    else:
        print_detector(found, place, prevalence)


@detector_app.command()
def verify(
    place: Annotated[str, typer.Argument(help="Folder that `clipfake train` wrote.", metavar="DETECTOR")],
    encoder: MovedEncoder = None,
    as_json: Json = False,
) -> None:
    """Verify that a detector works here as where it was trained. Exits with 2 where it does not.

    Loads and audits it, and embeds its test card in each precision that works on this machine."""
    from dataclasses import asdict

    from clipfake.detector import inspection

    found = inspection.load(place)
    checks = inspection.verify(found, encoder)
    if as_json:
        print_json({"fingerprint": found.fingerprint, "checks": [asdict(check) for check in checks]})
    else:
        rows = [
            (c.decoder, c.precision, f"{c.deviation:.2g}", f"{c.allowed:.2g}", "no" if c.problem else "yes")
            for c in checks
        ]
        print_table(("decoder", "precision", "test card off by", "allowed", "holds"), rows)
    for problem in (check.problem for check in checks if check.problem):
        raise UsageError(problem)
    if not as_json:
        print(f"detector {found.fingerprint[:16]} is whole, and its encoder gives here what it gave in training")


@detector_app.command()
def diff(
    one: Annotated[str, typer.Argument(help="Folder of the first detector.")],
    two: Annotated[str, typer.Argument(help="Folder of the second detector.")],
    as_json: Json = False,
) -> None:
    """Show how two detectors differ. Says whether they score alike."""
    from dataclasses import asdict

    from clipfake.detector import inspection

    found = inspection.compare(inspection.load(one), inspection.load(two))
    if as_json:
        print_json(asdict(found))
    else:
        print_comparison(found)


@detector_app.command()
def add_decoder(
    place: Annotated[str, typer.Argument(help="Name, folder or URI of the detector.", metavar="DETECTOR")],
    own: Annotated[str, typer.Argument(help="Embeddings of images by the detector's own decoder.", metavar="EMB")],
    other: Annotated[
        str, typer.Argument(help="The same, by `clipfake embed --for DETECTOR --decoder NAME`.", metavar="OTHER")
    ],
    out: Out,
    encoder: MovedEncoder = None,
    as_json: Json = False,
) -> None:
    """Let a detector score by the decoder of OTHER, too. It may change at most 10 verdicts in 10,000.

    It takes 3,000 images at least. The detector keeps its fingerprint; by the added decoder it has another one."""
    from clipfake.detector import decoder_change, inspection
    from clipfake.detector.bundle import ARRAYS, DESCRIPTION
    from clipfake.storage import uri as uris
    from clipfake.storage.store import Store, check_new

    store = Store(uris.place(out))
    check_new(store, (DESCRIPTION, ARRAYS))
    made = decoder_change.with_decoder(inspection.load(place), own, other, encoder)
    made.save(store)
    added = made.decoders[-1]
    if as_json:
        print_json({"fingerprint": made.fingerprint} | added.described())
    else:
        print(f"{_measured(added)}: `score --decoder {added.decoder}` may use it -> {out}")


def _measured(further: Any) -> str:
    """What is known of a further decoder."""
    return (
        f"{further.decoder} changed {further.changed} of {further.images} verdicts, and no decision by more than "
        f"{further.moved:.2g}"
    )


def print_detector(detector: Any, place: str, prevalence: float | None = None) -> None:
    """What a bundle is, on stdout."""
    p, encoder = detector.provenance, detector.encoder
    search = (p.get("svm") or {}).get("search")
    facts = [
        ("fingerprint", detector.fingerprint),
        ("encoder", f"{encoder.get('arch')}/{encoder.get('weights')}, {detector.encoder_fingerprint[:16]}"),
        ("embeddings", f"{detector.in_dim} numbers, trained in {p.get('precision', '-')}"),
        ("head", f"{detector.in_dim} -> {detector.head.out_dim}" if detector.head is not None else "none"),
        ("classifier", str(detector.classifier)),
        ("fitted as", (p.get("svm") or {}).get("rule", "-") + (", C and gamma searched" if search else "")),
        ("calibration", detector.calibrator.kind),
        ("unfamiliarity", f"{len(detector.reference.points)} reference points" if detector.reference else "none"),
        ("trained", f"{p.get('trained_at', '-')}, data {str(p.get('data_sha256', '-'))[:16]}"),
        ("generators", ", ".join(map(str, p.get("generators", []))) or "-"),
        ("further decoders", "; ".join(map(_measured, detector.decoders)) or "none"),
        ("schema version", detector.schema_version),
    ]
    print_table(("detector", place), facts)
    print_candidates(p)
    tables = {
        part: {"detector": detector.metrics[part], "baseline": detector.baseline[part]}
        for part in ("train", "val", "test")
        if part in detector.metrics and part in detector.baseline
    }
    if tables:
        print_metrics(tables)
    if generators := detector.metrics.get("test_by_generator"):
        print_generators(generators)
    print_thresholds(detector, prevalence)
    if encoder.get("weights") == "untrained":
        print(UNTRAINED)


_FIGURES = ("metrics.at_thresholds.", *(f"metrics.{part}.{key}" for part in ("val", "test") for key in ("auc", "nll")))


def print_comparison(found: Any) -> None:
    """How two detectors differ, and whether they score alike, on stdout."""
    figures = [entry for entry in found.differences if entry[0].startswith(("metrics.", "baseline."))]
    kept = [entry for entry in figures if entry[0].startswith(_FIGURES)]
    rows = [
        (name, _short(one), _short(two))
        for name, one, two in found.differences
        if (name, one, two) in kept or (name, one, two) not in figures
    ]
    rows += [(f"array {name}", "", "differs") for name in found.arrays]
    if rows:
        print_table(("what differs", "first", "second"), rows)
    if len(figures) > len(kept):
        print(f"and {len(figures) - len(kept)} more figures of metrics (--json has them)")
    if found.measured:
        measured = ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in found.measured.items())
        print(f"largest differences measured: {measured}")
    print(
        {
            "the same": "They score alike: same fingerprint.",
            "within tolerance": "They score alike within the tolerance between machines.",
            "different": "They score differently.",
            "another encoder": "They are of different encoders: neither can score the other's embeddings.",
        }[found.alike]
    )


def _short(value: Any) -> str:
    text = "-" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 40 else text[:37] + "..."
