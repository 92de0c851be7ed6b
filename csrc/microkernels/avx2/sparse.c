#include "microkernels/sparse.h"

const tt_sparse_kernels tt_sparse_avx2 = {0};
