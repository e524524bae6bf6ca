"""`clipfake audit`: a few lines over clipfake.audit.audit."""

from typing import Annotated, Any

import typer

from clipfake.audit.options import AuditOptions
from clipfake.cli.console import number, print_json, print_table, sentence
from clipfake.cli.options import Json, Only
from clipfake.cli.progress import progress_bar

_VALUES = 6  # of a fact that are printed; --json has more


def audit(
    source: Annotated[str, typer.Argument(help="Manifest, or folder of embeddings.", metavar="MANIFEST|EMBEDDINGS")],
    options: Annotated[AuditOptions, Only("sample", "duplicates", "out", "threshold", "num_cpus")],
    allow_shortcuts: Annotated[
        bool, typer.Option("--allow-shortcuts", help="Exit with 0 although the encoding gives the label away.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check whether anything but the picture gives the label away. Exits with 2 where the encoding alone does.

    Of a manifest, a sample of the images is read. Of embeddings, the stored columns are used, and near duplicates are
    found as well.
    """
    from clipfake.audit.audit import audit as run

    with progress_bar() as progress:
        result = run(source, options, progress)
    if as_json:
        print_json({**result.found, "warnings": result.warnings, "refusal": result.refusal})
    else:
        print_audit(result)
    result.check(allow_shortcuts)


def print_audit(result: Any) -> None:
    """The tables of an audit and what is to be known, on stdout."""
    found = result.found
    _print_facts(found["facts"])
    rows = [(g["generator"] or "(none)", *(_shown(g[key]) for key in list(g)[1:])) for g in found["generators"]]
    heads = ("generator", "reals", "fakes", "format", "size", "JPEG quality", "bytes/pixel", "declared")
    print_table(heads, rows)
    if found["shortcuts"]:
        shortcuts = found["shortcuts"]
        aucs = [("all facts together", shortcuts["together"])]
        aucs += sorted(shortcuts["alone"].items(), key=lambda one: -one[1]["auc"])
        aucs += [("base names", found["names"]), *(found["baselines"] or {}).items()]
        print_table(
            ("what tells the label", "AUC", "95% low", "high"), [(name, *map(number, t.values())) for name, t in aucs]
        )
    _print_duplicates(found["duplicates"])
    if "written" in found:
        print(", ".join(f"{key} {value}" for key, value in found["written"].items()))
    items = found["items"]
    print(f"{items['reals']} reals, {items['fakes']} fakes; {found['judged']} judged")
    for warning in result.warnings:
        print(sentence(warning))
    if not result.warnings:
        print("Nothing but the picture was found to tell the label.")


def _print_facts(tables: dict[str, Any]) -> None:
    rows: list[tuple[Any, ...]] = []
    for fact, table in tables.items():
        if isinstance(table, list):
            if len(table) > 1 or (table and table[0]["value"]):
                rows += [(fact, _shown(r["value"]), r["reals"], r["fakes"]) for r in table[:_VALUES]]
        elif table:
            rows.append((fact, "median (5% to 95%)", *(_spread(table.get(kind)) for kind in ("reals", "fakes"))))
    print_table(("fact", "value", "reals", "fakes"), rows)


def _spread(quantiles: list[float] | None) -> str:
    if quantiles is None:
        return "-"
    _, low, middle, high, _ = quantiles
    return f"{middle:.4g} ({low:.4g} to {high:.4g})"


def _print_duplicates(found: dict[str, Any]) -> None:
    kinds = ("", "across_classes_", "across_splits_")
    rows = [(kind, *(f"{c[f'{k}sets']} / {c[f'{k}items']}" for k in kinds)) for kind, c in found.items()]
    print_table(("duplicates (sets / items)", "all", "with both labels", "in several splits"), rows)
    for kind, counts in found.items():
        for one in counts["with_both_labels"]:
            print(f"{kind}, both labels: {'  '.join(one)}")


def _shown(value: Any) -> str:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)[:60]
