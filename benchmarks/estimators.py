"""XPClassifier and XPRegressor beside scikit-learn's own networks: scores of rows held out, and how long a fit takes.

    python benchmarks/estimators.py [--data iris digits] [--seeds 5] [--out result.json]

Defaults of both, behind a StandardScaler, a quarter of the rows held out; with and without early stopping. MLPRegressor gets a
scaled y, which XPRegressor sees to itself. Each library in a process of its own, one thread each, in turns over the data sets.
The table is Markdown: mean score and standard deviation over the seeds (of split, initial values and order), median seconds.
"""

import argparse
import datetime
import json
import statistics
import sys
import time
import warnings
from pathlib import Path

import processes
from peer import blas_threads, needed

from xpnet.bench import machine

SEEDS = 5
DATA = ("iris", "wine", "digits", "breast_cancer", "diabetes", "friedman1")
REGRESSIONS = ("diabetes", "friedman1")
WHO = ("xpnet", "scikit-learn")


def rows(name):
    """X and y of a data set that scikit-learn brings along."""
    datasets = needed("sklearn.datasets", "scikit-learn")
    if name == "friedman1":
        return datasets.make_friedman1(n_samples=1000, noise=1.0, random_state=0)
    return getattr(datasets, f"load_{name}")(return_X_y=True)


def estimator(who, name, early_stopping, seed):
    """The pipeline that is fitted."""
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from xpnet.sklearn import XPClassifier, XPRegressor

    regression, options = name in REGRESSIONS, {"early_stopping": early_stopping, "random_state": seed}
    if who == "xpnet":
        found = (XPRegressor if regression else XPClassifier)(device="cpu", **options)
    elif regression:
        found = TransformedTargetRegressor(MLPRegressor(**options), transformer=StandardScaler())
    else:
        found = MLPClassifier(**options)
    return make_pipeline(StandardScaler(), found)


def fits(who, name, early_stopping, seeds):
    """In a process of its own: scores and seconds, one of each for a seed."""
    needed("sklearn", "scikit-learn")
    from sklearn.model_selection import train_test_split

    warnings.simplefilter("ignore")  # that MLP's epochs did not suffice
    x, y = rows(name)
    scores, seconds = [], []
    estimator(who, name, early_stopping, 0).fit(x[::7], y[::7])  # imports are not part of a fit
    for seed in range(seeds):
        same = None if name in REGRESSIONS else y
        x_train, x_test, y_train, y_test = train_test_split(x, y, random_state=seed, stratify=same)
        model, start = estimator(who, name, early_stopping, seed), time.perf_counter()
        model.fit(x_train, y_train)
        seconds.append(time.perf_counter() - start)
        scores.append(float(model.score(x_test, y_test)))
    return {"scores": scores, "seconds": seconds, "threads": blas_threads()}


def cell(found):
    if "scores" not in found:
        return found.get("refused") or found["left_out"]
    scores, seconds = found["scores"], statistics.median(found["seconds"])
    return f"{statistics.mean(scores):.3f} ± {statistics.stdev(scores):.3f}, {seconds:.2f} s"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=DATA, default=DATA)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="2 at least")
    parser.add_argument("--out", help="write everything as JSON")
    options = parser.parse_args()
    processes.note_load()
    columns = [(who, stopping) for stopping in (False, True) for who in WHO]
    found = []
    print("| data | xpnet | scikit-learn | xpnet, early stopping | scikit-learn |\n|---|---|---|---|---|")
    for name in options.data:
        answers = [processes.run("estimators", "fits", who, name, *rest, options.seeds, threads=1) for who, *rest in columns]
        print(f"| {name} | {' | '.join(map(cell, answers))} |", flush=True)
        found += [
            {"data": name, "who": who, "early_stopping": stopping, **answer}
            for (who, stopping), answer in zip(columns, answers, strict=True)
        ]
    if options.out:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        about = {"machine": machine.describe(), "revision": machine.revision(), "time": now, "command": sys.argv}
        Path(options.out).write_text(json.dumps({**about, "results": found}, indent=1) + "\n", encoding="utf-8")
    sys.exit(any("scores" not in answer for answer in found))


if __name__ == "__main__":
    main()
