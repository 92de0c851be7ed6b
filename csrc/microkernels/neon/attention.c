#include "microkernels/attention.h"

const tt_attention_kernels tt_attention_neon = {0};
