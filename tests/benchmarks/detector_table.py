"""What each choice of training brings on mini_artifact: seeds x {random split, one generator left out}.

    clipfake index mini_artifact --layout artifact --out M
    clipfake embed M --encoder ENC --views 2 --out E/projected
    clipfake embed M --encoder ENC --feature penultimate --out E/penultimate      (and blocks:..., any name)
    python tests/benchmarks/detector_table.py E --seeds 5

Heads are trained as `clipfake train` does, without Ray; nothing is stored. Scenes and sheets stay together.
"""

import argparse
import re
import sys
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from clipfake.detector.classifiers.fitting import fit_linear_baseline, fit_svm
from clipfake.detector.heads.linear_projection import head_of
from clipfake.measures.metrics import metrics
from clipfake.training.dataset import Labelled, read_labelled
from clipfake.training.head import fit_head
from clipfake.training.models import part_of, project
from clipfake.training.options import TrainOptions

HELD_OUT = ("cycle_gan", "pix2pix", "stable_diffusion")
MEASURES = ("accuracy", "auc", "tpr")


def scene(item_id: str) -> str:
    """What must stay on one side: a facade or map with its translations, four tiles of a sheet; else the image."""
    folder, kind, number = re.search(r"([^/]+)/([^/]+)/img(\d+)\.jpg$", item_id).groups()
    if folder in ("cycle_gan", "pix2pix"):
        return f"{'map' if 'sat' in kind else 'facade'}{number}"
    return f"{folder}/{kind}/{int(number) // 4 if folder == 'stable_diffusion' else number}"


def load(folder: Path, views: bool) -> Labelled:
    """The embeddings, with scenes as units."""
    data = read_labelled(str(folder), views=views)
    return replace(data, unit=np.asarray([scene(one) for one in data.item_id], object))


def parts(data: Labelled, seed: int, held_out: str | None) -> dict[str, np.ndarray]:
    """Rows of train, val, test. With a generator held out, test is all of it, with its own reals or a fifth of all."""
    part = data.parts("grouped", seed)
    if held_out is None:
        return {name: np.flatnonzero(part == name) for name in ("train", "val", "test")}
    test = (data.generator == held_out) & (data.view == 0)
    if not (data.y[test] == 0).any():
        test |= (part == "test") & (data.y == 0)
    elsewhere = ~np.isin(data.unit, np.unique(data.unit[test].astype(str))) & (data.generator != held_out)
    # What would have been test trains here: the test part is another one.
    rows = {"train": elsewhere & (part != "val") & (data.view == 0), "val": elsewhere & (part == "val"), "test": test}
    rows["train"] |= elsewhere & (part == "train")
    return {name: np.flatnonzero(mask) for name, mask in rows.items()}


def judged(y: np.ndarray, decision: np.ndarray) -> dict[str, float]:
    """Accuracy at a decision of 0, AUC, and the TPR at 5 % FPR where there are 200 reals."""
    found = metrics(y, decision, 1 / (1 + np.exp(-decision)), decision > 0)
    tpr = found["tpr_at_fpr"]["0.05"] if (y == 0).sum() >= 200 else None
    return {"accuracy": found["balanced_accuracy"], "auc": found["auc"], "tpr": np.nan if tpr is None else tpr}


def one(folder: str, seed: int, held_out: str | None, views: bool, choices: dict) -> list[tuple[str, dict[str, float]]]:
    """Every choice on one split of one folder: name -> measures."""
    data = load(Path(folder), views)
    sides = {name: part_of(data.take(rows)) for name, rows in parts(data, seed, held_out).items()}
    train, test = sides["train"], sides["test"]
    found = []
    for name, options in choices.items():
        if options == "linear":
            model = fit_linear_baseline(train.x, train.y)
            decision = model.decision(torch.from_numpy(test.x)).numpy()
        elif options == "rbf":
            centre, scale = train.x.mean(axis=0), train.x.std(axis=0) + 1e-7
            model = fit_svm((train.x - centre) / scale, train.y)
            decision = model.decision(torch.from_numpy((test.x - centre) / scale)).numpy()
        else:
            options = replace(options, seed=seed)
            trained = fit_head(train, sides["val"], options)
            head = head_of({key: torch.tensor(value) for key, value in trained.state.items()}, "image")
            model = fit_svm(project(head, train), train.y)
            decision = model.decision(torch.from_numpy(project(head, test))).numpy()
        found.append((name, judged(test.y, decision)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    recommended, source = (TrainOptions.of_preset(name).head for name in ("recommended", "source"))
    miners = {f"head, {m}": replace(recommended, miner=m) for m in ("random", "semi-hard", "batch-hard", "all-nonzero")}
    raw = {"raw linear SVM": "linear", "raw RBF SVM": "rbf"}
    jobs = []
    for folder in sorted(path for path in given.folder.iterdir() if path.is_dir()):
        default = folder.name == "projected"
        heads = miners | {"head, preset source": source} if default else {"head, semi-hard": recommended}
        jobs += [(folder.name, str(folder), False, raw | heads)]
        if default:
            jobs += [("projected, 2 views", str(folder), True, raw | {"head, semi-hard": recommended})]
    table: dict[tuple[str, str], dict[str, list[dict[str, float]]]] = defaultdict(lambda: defaultdict(list))
    with ProcessPoolExecutor(given.workers) as pool:
        runs = [
            (label, held_out, pool.submit(one, folder, seed, held_out, views, choices))
            for label, folder, views, choices in jobs
            for held_out in (None, *HELD_OUT)
            for seed in range(given.seeds)
        ]
        for done, (label, held_out, run) in enumerate(runs):
            for name, measures in run.result():
                table[label, name][held_out or "random split"].append(measures)
            print(f"{done + 1} of {len(runs)}", file=sys.stderr)
    splits = ("random split", *HELD_OUT)
    print("| features | model | " + " | ".join(f"{s}: bal acc, AUC, TPR@5%" for s in splits) + " |")
    print("|---|---|" + "---|" * len(splits))
    for (label, name), by_split in table.items():
        cells = []
        for split in splits:
            values = np.array([[m[key] for key in MEASURES] for m in by_split[split]], float)
            mean, deviation = values.mean(axis=0), values.std(axis=0, ddof=1) if len(values) > 1 else values[0] * 0
            pairs = [f"{m:.3f} ± {d:.3f}" for m, d in zip(mean, deviation, strict=True) if np.isfinite(m)]
            cells.append(", ".join(pairs))
        print(f"| {label} | {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
