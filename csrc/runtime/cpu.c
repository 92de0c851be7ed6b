/* What the CPU has. Asked once, by dispatch.c. */
#include "runtime/runtime.h"

#include <string.h>

#if defined(__x86_64__) || defined(_M_X64)

#if defined(_MSC_VER)
#include <immintrin.h>
#include <intrin.h>

static int bit(int value, int position) { return (value >> position) & 1; }

int tt_cpu_has(const char *level)
{
    int one[4], seven[4];
    __cpuid(one, 1);
    __cpuidex(seven, 7, 0);
    if (strcmp(level, "scalar") == 0) return 1;
    /* XGETBV tells whether the operating system saves the wide registers. */
    unsigned long long saved = bit(one[2], 27) ? _xgetbv(0) : 0;
    int avx2 = (saved & 0x06) == 0x06 && bit(one[2], 12) && bit(seven[1], 5);
    int avx512 = avx2 && (saved & 0xe6) == 0xe6 && bit(seven[1], 16) && bit(seven[1], 17) &&
                 bit(seven[1], 30) && bit(seven[1], 31);
    if (strcmp(level, "avx2") == 0) return avx2;
    if (strcmp(level, "avx512") == 0) return avx512;
    return strcmp(level, "vnni") == 0 && avx512 && bit(seven[2], 11);
}

#else

/* The compilers' own test also asks the operating system whether it saves the wide registers. */
int tt_cpu_has(const char *level)
{
    __builtin_cpu_init();
    if (strcmp(level, "scalar") == 0) return 1;
    int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    int avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                 __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    if (strcmp(level, "avx2") == 0) return avx2;
    if (strcmp(level, "avx512") == 0) return avx512;
    return strcmp(level, "vnni") == 0 && avx512 && __builtin_cpu_supports("avx512vnni");
}

#endif

#elif defined(__aarch64__) || defined(_M_ARM64)

#if defined(__linux__)
#include <sys/auxv.h>

static int has_dot_product(void) { return (getauxval(AT_HWCAP) >> 20) & 1; } /* HWCAP_ASIMDDP */

#elif defined(__APPLE__)
#include <sys/sysctl.h>

static int has_dot_product(void)
{
    int value = 0;
    size_t size = sizeof value;
    return sysctlbyname("hw.optional.arm.FEAT_DotProd", &value, &size, NULL, 0) == 0 && value;
}

#else

static int has_dot_product(void) { return 0; }

#endif

int tt_cpu_has(const char *level)
{
    if (strcmp(level, "neondot") == 0) return has_dot_product();
    return strcmp(level, "scalar") == 0 || strcmp(level, "neon") == 0;
}

#else

int tt_cpu_has(const char *level) { return strcmp(level, "scalar") == 0; }

#endif
