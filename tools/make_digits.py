"""Write xpnet/datasets/digits.npz from scikit-learn's copy of the UCI digits: run once, the result is committed.

python tools/make_digits.py        (needs scikit-learn)
"""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

SEED, TEST_ROWS = 0, 360  # stratified: each class has its share in both parts

data = load_digits()
_, test_rows = train_test_split(np.arange(len(data.target)), test_size=TEST_ROWS, stratify=data.target, random_state=SEED)
test = np.zeros(len(data.target), bool)
test[test_rows] = True
path = Path(__file__).parent.parent / "xpnet" / "datasets" / "digits.npz"
np.savez_compressed(path, pixels=data.data.astype(np.uint8), labels=data.target.astype(np.uint8), test=test)
print(path, path.stat().st_size, "bytes;", test.sum(), "test rows")
