"""The Spark recipe: its function of record batches with Arrow alone, and all of it in a session of two worker processes."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from example_helpers import EXAMPLES, load_example

pytestmark = pytest.mark.extras
example = load_example("score_on_spark")


@pytest.fixture(scope="module")
def net():
    return example.network().build((4,), seed=3)


def batches_of(arrow, x: np.ndarray, size: int) -> list:
    columns = {"id": np.arange(len(x)), **dict(zip(example.FEATURES, x.T, strict=True))}
    return arrow.table(columns).to_batches(max_chunksize=size)


def expected(net, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    logits = net.predict(x.astype(np.float32))
    powers = np.exp(logits, dtype=np.float64)
    return logits.argmax(axis=1), powers.max(axis=1) / powers.sum(axis=1)


def test_batches_come_back_with_two_more_columns(net, rng) -> None:
    arrow = pytest.importorskip("pyarrow")
    x = rng.standard_normal((1050, 4))
    found = arrow.Table.from_batches(example.score(batches_of(arrow, x, 100), example.packed(net)))
    labels, probabilities = expected(net, x)
    assert found.column_names == ["id", *example.FEATURES, "label", "probability"]
    np.testing.assert_array_equal(found["id"], np.arange(1050))
    np.testing.assert_array_equal(found["label"], labels)
    np.testing.assert_allclose(found["probability"], probabilities, rtol=1e-6)


def test_the_net_is_rebuilt_once_for_all_partitions(net, rng) -> None:
    arrow = pytest.importorskip("pyarrow")
    example.rebuilt.cache_clear()
    for _ in range(3):
        list(example.score(batches_of(arrow, rng.standard_normal((50, 4)), 10), example.packed(net)))
    assert example.rebuilt.cache_info().misses == 1


def test_an_empty_batch_and_missing_values(net) -> None:
    arrow = pytest.importorskip("pyarrow")
    empty = arrow.RecordBatch.from_pydict({name: arrow.array([], "float64") for name in example.FEATURES})
    (found,) = example.score([empty], example.packed(net))
    assert (found.num_rows, found.schema.names[-2:]) == (0, ["label", "probability"])
    gap = arrow.RecordBatch.from_pydict({name: arrow.array([1.0, None]) for name in example.FEATURES})
    with pytest.raises(ValueError, match="column x0 has 1 missing values of 2"):
        list(example.score([gap], example.packed(net)))


@pytest.mark.slow
def test_in_a_session(net, rng, monkeypatch) -> None:
    """Every row once, the same predictions as here, by two processes of which each builds the net once for many batches."""
    pytest.importorskip("pyspark")
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    x = rng.standard_normal((5000, 4))
    spark = example.session()
    try:
        spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", 100)
        rows = [(i, *map(float, row)) for i, row in enumerate(x)]
        frame = spark.createDataFrame(rows, ["id", *example.FEATURES]).repartition(8)
        found = sorted(example.scored(frame, net).select("id", "label", "probability").collect())
        weights = example.packed(net)

        def builds(batches):
            import os

            import pyarrow
            import score_on_spark

            for batch in score_on_spark.score(batches, weights):
                misses = score_on_spark.rebuilt.cache_info().misses
                yield pyarrow.RecordBatch.from_pydict({"process": [os.getpid()], "builds": [misses], "rows": [batch.num_rows]})

        seen = frame.mapInArrow(builds, "process long, builds long, rows long").collect()
    finally:
        spark.stop()
    labels, probabilities = expected(net, x)
    assert [row["id"] for row in found] == list(range(5000))
    np.testing.assert_array_equal([row["label"] for row in found], labels)
    np.testing.assert_allclose([row["probability"] for row in found], probabilities, rtol=1e-6)
    assert sum(row["rows"] for row in seen) == 5000
    assert len(seen) >= 50
    assert 1 <= len({row["process"] for row in seen}) <= 8
    assert {row["builds"] for row in seen} == {1}
