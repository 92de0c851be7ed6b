#include "microkernels/int8.h"

const tt_int8_kernels tt_int8_vnni = {0};
