/* What the two directions of convolution share. */
#ifndef TT_OPS_CONV_H
#define TT_OPS_CONV_H

#include "ops/patches.h"

double tt_conv2d_operations(const tt_conv2d_shape *shape); /* of one pass */

/* How many workers share `tasks` equal pieces of a convolution; 1 when there are fewer pieces than workers,
 * which then work together on each piece. */
int tt_conv2d_workers(const tt_conv2d_shape *shape, size_t tasks);

#endif
