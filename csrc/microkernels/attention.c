#include "microkernels/attention.h"
#include "microkernels/vec.h"

const tt_attention_kernels TT_FOR_LEVEL(tt_attention) = {TT_FOR_LEVEL(tt_transpose)};
