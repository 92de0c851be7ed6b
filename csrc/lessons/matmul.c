/* The matmul ladder: what its steps are called and what each of them adds. */
#include "lessons/lessons.h"
#include "runtime/runtime.h"

tt_lesson tt_matmul_step(int step)
{
    const tt_lesson_kernels *vector = tt_kernels()->lessons;
    const tt_lesson ladder[TT_MATMUL_STEPS] = {
        {"plain", "three loops: a row of a times a column of b", "matmul_0_plain.c", TT_LESSON_FLAGS,
         tt_matmul_plain},
        {"reordered", "the same loops in the order i, k, j: b is read along its rows", "matmul_1_reordered.c",
         TT_LESSON_FLAGS, tt_matmul_reordered},
        {"tiled", "a tile of c at a time: its sums stay in registers, every load serves four products",
         "matmul_2_tiled.c", TT_LESSON_FLAGS, tt_matmul_tiled},
        {"vectorised", "the same tiles, a vector of columns in each instruction", "vector/matmul_3_vectorised.c",
         vector->flags, vector->vectorised},
        {"packed", "blocks copied into panels in the order in which a larger tile reads them",
         "vector/matmul_4_packed.c", vector->flags, vector->packed},
        {"threaded", "the same panels, the blocks of rows shared among all threads", "vector/matmul_4_packed.c",
         vector->flags, vector->threaded},
    };
    return ladder[step];
}
