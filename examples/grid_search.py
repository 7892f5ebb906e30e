"""Which network, and how fast should it learn? scikit-learn's grid search over xpnet's classifier, on the digits.

python examples/grid_search.py               six candidates, each trained on two thirds of the rows and scored on the third
python examples/grid_search.py --jobs 2      in two processes
python examples/grid_search.py --device sim  the same on the simulated GPU (cuda: on a real one)

The scaler is in the pipeline, so that it sees the training rows of each fold alone; so is early stopping, which holds out
a part of these. The last line is of rows that took no part in any choice. Needs scikit-learn: pip install "xpnet[sklearn]"
"""

import argparse

import xpnet as xn
from xpnet.sklearn import XPClassifier

NETWORKS = {
    "linear": (),
    "64 hidden units": (64,),
    "a convolution": [xn.Reshape((8, 8, 1)), xn.Conv2d(8, 3), xn.ReLU(), xn.MaxPool2d(2), xn.Flatten(), xn.Affine(10)],
}
RATES = [0.0003, 0.003]


def search(data, device, epochs, jobs=None):
    """The fitted grid search."""
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    net = XPClassifier(epochs=epochs, early_stopping=5, device=device, random_state=0)
    grid = {"xpclassifier__layers": list(NETWORKS.values()), "xpclassifier__learning_rate": RATES}
    return GridSearchCV(make_pipeline(StandardScaler(), net), grid, cv=3, n_jobs=jobs).fit(data.x_train, data.y_train)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu, sim, cuda, cuda:1, ...")
    parser.add_argument("--jobs", type=int, help="processes")
    parser.add_argument("--quick", action="store_true", help="fewer epochs")
    options = parser.parse_args()

    data = xn.datasets.digits()
    found = search(data, options.device, 3 if options.quick else 60, options.jobs)
    results = found.cv_results_
    print(f"{'':16s}  learning rate  accuracy over three folds")
    for i, (name, rate) in enumerate((name, rate) for name in NETWORKS for rate in RATES):
        mark = "  <- best" if i == found.best_index_ else ""
        print(f"{name:16s}  {rate:13g}  {results['mean_test_score'][i]:.3f} +- {results['std_test_score'][i]:.3f}{mark}")
    best = found.best_estimator_[-1]
    print(f"\nthe best, on all {len(data.x_train)} rows: {best.n_iter_} epochs, {best.net_.parameters.value.size} parameters")
    print(f"accuracy on the {len(data.x_test)} test rows: {found.score(data.x_test, data.y_test):.3f}")


if __name__ == "__main__":
    main()
