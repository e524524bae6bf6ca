"""What `clipfake evaluate --robustness --adversarial N` adds to an evaluation: its sections and their tables."""

from typing import Any

from clipfake.cli.console import number, print_table
from clipfake.errors import UsageError
from clipfake.evaluation.options import RereadOptions


def sections(
    embeddings: str, detector: str, out: str | None, progress: Any, what: RereadOptions, num_cpus: int | None
) -> dict[str, Any]:
    """Name -> what makes the section from item_ids. What is wrong with the options is said here."""
    found: dict[str, Any] = {}
    if what.robustness:
        from clipfake.evaluation import robustness as sweep
        from clipfake.scoring.options import JobOptions

        if out is None:
            raise UsageError("--robustness stores what it computes, to go on after a stop: give --out too")
        options = sweep.RobustnessOptions(what.conditions, what.enlarger, JobOptions(num_cpus=num_cpus))
        found["robustness"] = lambda items: sweep.robustness(embeddings, detector, items, out, options, progress)
    if (count := what.adversarial) is not None:
        from clipfake.evaluation import attack as pgd
        from clipfake.evaluation.pgd import PgdOptions

        found["adversarial"] = lambda items: pgd.adversarial(
            embeddings, detector, items, count, PgdOptions(), progress, num_cpus, transfer=what.transfer
        )
    return found


def print_robustness(result: Any) -> None:
    """The sections' tables on stdout, where there are any."""
    from clipfake.images.conditions.kinds import KINDS

    if found := result.get("robustness"):
        print(f"\nrobustness: {found['items']} images read again, the same for each condition.")
        _print_left_out(found["left_out"])
        worst = max(found["conditions"], key=lambda row: row["balanced_drop"])
        print(f"Worst: {worst['condition']}, balanced accuracy {number(worst['balanced_accuracy'])}.")
        columns = ("bal acc", "drop [95%]", "real acc", "fake acc", "AUC")
        further = ("verdict flips", "real to fake", "fake to real")
        rows = [
            (
                row["condition"],
                number(row["balanced_accuracy"]),
                f"{row['balanced_drop']:.3f} [{number(row['balanced_drop_low'])}, {number(row['balanced_drop_high'])}]",
                *(number(row[key]) for key in ("real_accuracy", "fake_accuracy", "auc")),
                *_rates(row),
                *(f"{row[key]:.1%}" for key in ("flips", "to_fake", "to_real")),
            )
            for row in found["conditions"]
        ]
        print_table(("condition", *columns, *_rate_names(found["conditions"][0]), *further), rows)
        for kind in dict.fromkeys(row["kind"] for row in found["conditions"]):
            if kind in KINDS and KINDS[kind].note:
                print(f"{kind}: {KINDS[kind].note}.")
    if found := result.get("adversarial"):
        print(f"\nadversarial: {found['items']} images, PGD, {found['steps']} steps, {found['norm']}.")
        _print_left_out({"unreadable": found["unreadable"]} if found["unreadable"] else {})
        _print_by_epsilon(found["by_epsilon"])
        if through := found.get("transfer"):
            of = through["surrogate"]
            print(
                f"\ntransfer: the same images, moved to fool a {of['rule']} ({of['reals']} real, {of['fakes']} fake), "
                f"whose AUC on them is {number(of['auc'])}; judged by the detector."
            )
            _print_by_epsilon(through["by_epsilon"])


def _print_by_epsilon(found: Any) -> None:
    kinds = ("balanced_accuracy", "real_accuracy", "fake_accuracy", "auc")
    rows = [(row["epsilon"] or "clean", *(number(row[kind]) for kind in kinds), *_rates(row)) for row in found]
    print_table(("epsilon, of 255", "bal acc", "real acc", "fake acc", "AUC", *_rate_names(found[0])), rows)


def _print_left_out(statuses: Any) -> None:
    if statuses:
        print(f"Left out: {', '.join(f'{count} {status}' for status, count in statuses.items())}.")


def _rate_names(row: Any) -> list[str]:
    return [f"{which} at {float(rate):.1%}" for rate in row["at_thresholds"] for which in ("TPR", "FPR")]


def _rates(row: Any) -> list[str]:
    return [number(rates[which]) for rates in row["at_thresholds"].values() for which in ("tpr", "fpr")]
