#include "microkernels/int4.h"

const tt_int4_kernels tt_int4_avx512 = {0};
