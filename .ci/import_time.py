"""How long `import tinytorch` takes beyond importing NumPy: at most 0.15 s, the median of some runs.

A busy machine takes longer, so only three times the budget is a failure.
"""

import statistics
import subprocess
import sys

BUDGET = 0.15
MEASURE = (
    "import time, numpy; start = time.perf_counter(); import tinytorch; print(time.perf_counter() - start)"
)

times = [float(subprocess.check_output([sys.executable, "-c", MEASURE])) for _ in range(11)]
median = statistics.median(times)
print(f"import tinytorch: {median:.3f} s beyond NumPy (median of {len(times)}, budget {BUDGET} s)")
sys.exit(median > 3 * BUDGET)
