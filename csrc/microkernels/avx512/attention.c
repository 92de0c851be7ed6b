#include "microkernels/attention.h"

const tt_attention_kernels tt_attention_avx512 = {0};
