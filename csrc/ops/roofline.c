/* The machine's limits, measured: nothing here is useful work. */
#include "runtime/runtime.h"

double tt_run_fma(size_t iterations) { return tt_kernels()->vector->run_fma(iterations); }

float tt_run_read(const float *x, size_t n, size_t passes)
{
    float sum = 0.0f;
    for (size_t pass = 0; pass < passes; pass++) sum += tt_kernels()->vector->run_read(x, n);
    return sum;
}
