"""From data of one's own to arrays, for training and again for prediction; everything is fitted on the training part."""

from xpnet.preprocessing.columns import Columns, Number, Text, numbers
from xpnet.preprocessing.prepare import Prepared, prepare_arrays, prepare_table
from xpnet.preprocessing.rows import Rows
from xpnet.preprocessing.split import split
from xpnet.preprocessing.targets import Classes, Quantity, Target, infer_task, quantities

__all__ = [
    "Classes",
    "Columns",
    "Number",
    "Prepared",
    "Quantity",
    "Rows",
    "Target",
    "Text",
    "infer_task",
    "numbers",
    "prepare_arrays",
    "prepare_table",
    "quantities",
    "split",
]
