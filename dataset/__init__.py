"""The text format, the packed dataset, and the way from one to the other."""

import os

# NumPy's linear algebra, which nothing here uses, would set memory aside for each core, in each process.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
