/* Step 3: the product of step 2 is where the time goes, so it is left to step 4 of the matmul ladder: packed
 * panels and a tile of vectors. Now it is the copying of windows that begins to show. */
#include "lessons/vector/vector.h"

tt_status TT_FOR_LEVEL(tt_conv2d_vectorised)(const tt_conv2d_shape *shape, const float *x, const float *w, float *y)
{
    return tt_conv2d_by_matmul(shape, x, w, y, TT_FOR_LEVEL(tt_matmul_packed));
}
