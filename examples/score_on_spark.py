"""Score rows on Spark: the weights are broadcast, every worker process rebuilds the net once, predictions come as columns.

python examples/score_on_spark.py                 train on 2,000 rows, score 100,000 others by two worker processes
python examples/score_on_spark.py --rows 1000000  more of them

Needs pyspark with pyarrow, and Java. xpnet must be installed where the workers run; this file is sent to them.
"""

import argparse
import functools
import io
import os
import sys
import time

import numpy as np

import xpnet as xn
from xpnet.extras import load

FEATURES = ("x0", "x1", "x2", "x3")
SCORED = "label long, probability double"  # the columns that scoring adds, as Spark's types


def network():
    """The net's layers, without weights: its architecture is code, which the workers have too."""
    return xn.Sequential(xn.Affine(64), xn.ReLU(), xn.Affine(3))


def packed(net):
    """A net's weights as bytes."""
    file = io.BytesIO()
    np.savez(file, **net.parameters.snapshot())
    return file.getvalue()


@functools.lru_cache(maxsize=1)
def rebuilt(weights):
    """The net with these weights: built by the first batch that a worker process gets, kept for all others."""
    net = network().build((len(FEATURES),), device="cpu")
    with np.load(io.BytesIO(weights), allow_pickle=False) as stored:
        net.parameters.restore({name: stored[name] for name in stored.files})
    return net


def score(batches, weights):
    """Arrow record batches with the features among their columns -> the same with label and probability."""
    arrow = load("pyarrow", "spark")
    for batch in batches:
        x = np.stack([column(batch, name) for name in FEATURES], axis=1)
        logits = rebuilt(weights).predict(x)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True), dtype=np.float64)
        label, probability = logits.argmax(axis=1), powers.max(axis=1) / powers.sum(axis=1)
        columns = [*batch.columns, arrow.array(label, "int64"), arrow.array(probability)]
        yield arrow.RecordBatch.from_arrays(columns, names=[*batch.schema.names, "label", "probability"])


def column(batch, name):
    """A column as float32; a missing value would be NaN, and NaN in a net is NaN at the end."""
    values = batch.column(name)
    if values.null_count:
        raise ValueError(f"column {name} has {values.null_count} missing values of {len(values)}: fill or drop them first")
    return values.to_numpy(zero_copy_only=False).astype(np.float32)


def scored(frame, net):
    """A Spark data frame with the net's predictions as two more columns; computed when it is asked for rows."""
    spark = frame.sparkSession
    spark.sparkContext.addPyFile(os.path.abspath(__file__))
    weights = spark.sparkContext.broadcast(packed(net))

    def on_a_worker(batches):
        from score_on_spark import score  # a module lasts as long as the process: what is sent with a task does not

        return score(batches, weights.value)

    fields = ", ".join(f"{name} {kind}" for name, kind in frame.dtypes)
    return frame.mapInArrow(on_a_worker, f"{fields}, {SCORED}")


def trained(device):
    """A net that tells three blobs apart, and its accuracy on rows that it has not seen."""
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 2, (3, len(FEATURES)))
    labels = rng.integers(0, 3, 2500)
    x = (centres[labels] + rng.normal(size=(2500, len(FEATURES)))).astype(np.float32)
    net = network()
    trainer = xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.Adam(0.01), device=device, seed=0)
    trainer.fit(x[:2000], labels[:2000], epochs=10, batch_size=50)
    return net, trainer.evaluate(x[2000:], labels[2000:])["accuracy"]


def session():
    """Spark with two worker processes on this machine, which use this Python."""
    for name in ("PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON"):
        os.environ.setdefault(name, sys.executable)
    sql = load("pyspark.sql", "spark")
    builder = sql.SparkSession.builder.master("local[2]").appName("xpnet").config("spark.ui.enabled", "false")
    return builder.config("spark.sql.execution.arrow.maxRecordsPerBatch", 10_000).getOrCreate()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000, help="rows to score, 100,000")
    parser.add_argument("--device", default="cpu", help="where to train; the workers score on their CPUs")
    arguments = parser.parse_args()
    net, accuracy = trained(arguments.device)
    print(f"trained on {arguments.device}: accuracy {accuracy:.4f} on 500 other rows; {len(packed(net)):,} bytes of weights")
    spark = session()
    rows = spark.range(arguments.rows).selectExpr("id", *(f"4 * rand({k}) - 2 as {name}" for k, name in enumerate(FEATURES)))
    begun = time.perf_counter()
    counts = scored(rows, net).groupBy("label").count().orderBy("label").collect()
    print(f"scored {arguments.rows:,} rows in {time.perf_counter() - begun:.1f} s, starting the workers included")
    for row in counts:
        print(f"label {row['label']}: {row['count']:,} rows")
    spark.stop()


if __name__ == "__main__":
    main()
