/* exp, erf and tanh against the C library's double precision, all over the floats.
 *
 * TINYTORCH_SWEEP=1 tries every float (minutes for each level); otherwise one in STRIDE. */
#include "runtime/runtime.h"
#include "tests/test.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { STRIDE = 4999, CHUNK = 4096 };

typedef struct {
    const char *name;
    tt_map *function;
    double (*exact)(double);
    double most_ulps;
} measured;

static float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* The error of y in units of the last place of a float next to the exact value. */
static double ulps(float y, double exact)
{
    if (isnan(exact)) return isnan(y) ? 0 : INFINITY;
    if (fabs(exact) >= FLT_MAX * (1 + 0x1p-25)) return isinf(y) && (y > 0) == (exact > 0) ? 0 : INFINITY;
    int exponent;
    frexp(exact, &exponent);
    return fabs(y - exact) / ldexp(1, (exponent < FLT_MIN_EXP ? FLT_MIN_EXP : exponent) - FLT_MANT_DIG);
}

static void sweep(const measured *m, uint64_t stride)
{
    float x[CHUNK], y[CHUNK];
    double worst = 0;
    float worst_at = 0;
    for (uint64_t next = 0; next <= UINT32_MAX;) {
        size_t n = 0;
        for (; n < CHUNK && next <= UINT32_MAX; next += stride) x[n++] = float_of((uint32_t)next);
        m->function(x, n, y);
        for (size_t i = 0; i < n; i++) {
            double error = ulps(y[i], m->exact(x[i]));
            if (error <= worst) continue;
            worst = error;
            worst_at = x[i];
        }
    }
    if (stride == 1) printf("%s: %s within %.2f ulp\n", tt_level_name(), m->name, worst);
    CHECK(worst <= m->most_ulps, "%s(%.9g) is off by %.2f ulp on %s", m->name, (double)worst_at, worst,
          tt_level_name());
}

/* Where the functions bend, and what IEEE says of the ends. */
static void check_points(const measured *m)
{
    const float x[] = {0.0f,    -0.0f, 1e-45f, -1e-45f, FLT_MIN,   4.0f,   3.9999998f, 9.02f, 9.0199995f, 88.72283f,
                       88.723f, 89.0f, -87.3f, -104.0f, -103.972f, -150.f, INFINITY,   NAN,   -INFINITY,  FLT_MAX};
    enum { POINTS = sizeof x / sizeof *x };
    float y[POINTS];
    m->function(x, POINTS, y);
    for (int i = 0; i < POINTS; i++)
        CHECK(ulps(y[i], m->exact(x[i])) <= m->most_ulps, "%s(%.9g) = %.9g", m->name, (double)x[i], (double)y[i]);
    for (int i = 0; i < POINTS; i++)
        if (m->exact == erf || m->exact == tanh)
            CHECK(!signbit(y[i]) == !signbit(x[i]) || isnan(x[i]), "%s is odd", m->name);
}

void test_maths(void)
{
    const tt_activation_kernels *kernels = tt_kernels()->vector->activation;
    const measured functions[] = {
        {"exp", kernels->exp, exp, 2}, {"erf", kernels->erf, erf, 4}, {"tanh", kernels->tanh, tanh, 4}};
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        check_points(&functions[i]);
        sweep(&functions[i], getenv("TINYTORCH_SWEEP") ? 1 : STRIDE);
    }
}
