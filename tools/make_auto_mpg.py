"""Write xpnet/datasets/auto_mpg.csv from the cars of the package vega_datasets: run once, the result is committed.

python tools/make_auto_mpg.py        (needs vega_datasets)

Of its 406 cars 392 are complete. It gives the cars of 1981 the year 1982: in UCI's file, whose order it keeps, 1982 begins
with the Chevrolet Cavalier. The means printed at the end are those of UCI's file.
"""

import csv
import json
from importlib import resources
from pathlib import Path

COLUMNS = {
    "cylinders": "Cylinders",
    "displacement": "Displacement",
    "horsepower": "Horsepower",
    "weight": "Weight_in_lbs",
    "acceleration": "Acceleration",
    "model_year": "Year",
    "origin": "Origin",
    "mpg": "Miles_per_Gallon",
}

cars = json.loads(resources.files("vega_datasets").joinpath("_data/cars.json").read_text())
first_of_1982 = next(k for k, car in enumerate(cars) if car["Name"] == "chevrolet cavalier")
for k, car in enumerate(cars):
    year = int(car["Year"][2:4])
    car["Year"] = 81 if year == 82 and k < first_of_1982 else year
rows = [[car[key] for key in COLUMNS.values()] for car in cars if None not in car.values()]
assert len(rows) == 392, len(rows)

path = Path(__file__).parent.parent / "xpnet" / "datasets" / "auto_mpg.csv"
with path.open("w", newline="", encoding="utf-8") as file:
    csv.writer(file, lineterminator="\n").writerows([list(COLUMNS), *rows])
print(path, path.stat().st_size, "bytes")
for k, name in enumerate(COLUMNS):
    if name != "origin":
        print(f"{name:12} {sum(row[k] for row in rows) / len(rows):.4f}")
