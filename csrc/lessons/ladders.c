/* The ladders: what their steps are called and what each of them adds. */
#include "lessons/lessons.h"
#include "runtime/runtime.h"

enum { MOST_STEPS = 6 };

const char *tt_ladder_name(tt_ladder ladder)
{
    static const char *const names[TT_LADDERS] = {"matmul", "matmul_int8", "sparse_matmul", "conv2d", "attention"};
    return names[ladder];
}

tt_lesson tt_ladder_step(tt_ladder ladder, int step)
{
    const char *plain_c = TT_LESSON_FLAGS;
    const tt_lesson_kernels *vector = tt_kernels()->lessons;
    const tt_lesson_int8_kernels *integer = tt_kernels()->int8_lessons;
    const tt_lesson ladders[TT_LADDERS][MOST_STEPS] = {
        [TT_MATMUL_LADDER] = {
            {"plain", "three loops: a row of a times a column of b",
             "matmul_0_plain.c", plain_c, .matmul = tt_matmul_plain},
            {"reordered", "the same loops in the order i, k, j: b is read along its rows",
             "matmul_1_reordered.c", plain_c, .matmul = tt_matmul_reordered},
            {"tiled", "a tile of c at a time: its sums stay in registers, every load serves four products",
             "matmul_2_tiled.c", plain_c, .matmul = tt_matmul_tiled},
            {"vectorised", "the same tiles, a vector of columns in each instruction",
             "vector/matmul_3_vectorised.c", vector->flags, .matmul = vector->matmul_vectorised},
            {"packed", "blocks copied into panels in the order in which a larger tile reads them",
             "vector/matmul_4_packed.c", vector->flags, .matmul = vector->matmul_packed},
            {"threaded", "the same panels, the blocks of rows shared among all threads",
             "vector/matmul_4_packed.c", vector->flags, .matmul = vector->matmul_threaded},
        },
        [TT_MATMUL_INT8_LADDER] = {
            {"plain", "three loops over bytes, summed in int32",
             "matmul_int8_0_plain.c", plain_c, .matmul_int8 = tt_matmul_int8_plain},
            {"reordered", "the same loops in the order i, k, j: b is read along its rows",
             "matmul_int8_1_reordered.c", plain_c, .matmul_int8 = tt_matmul_int8_reordered},
            {"vectorised", "a vector of columns in each instruction, each byte widened to its int32 sum",
             "integer/matmul_int8_2_vectorised.c", integer->flags, .matmul_int8 = integer->vectorised},
            {"grouped", "four rows of b interleaved, so that one instruction adds four products to each sum",
             "integer/matmul_int8_3_grouped.c", integer->flags, .matmul_int8 = integer->grouped},
            {"wide", "a tile with more sums than the dot product takes cycles, so that none waits for another",
             "integer/matmul_int8_3_grouped.c", integer->flags, .matmul_int8 = integer->wide},
        },
        [TT_SPARSE_MATMUL_LADDER] = {
            {"dense", "every weight is multiplied, zero or not",
             "sparse_matmul_0_dense.c", plain_c, .sparse_matmul = tt_sparse_matmul_dense},
            {"skipping", "each weight is looked at, and only those that are not zero are multiplied",
             "sparse_matmul_1_skipping.c", plain_c, .sparse_matmul = tt_sparse_matmul_skipping},
            {"compressed", "only the weights that are not zero are stored, with their columns",
             "sparse_matmul_2_compressed.c", plain_c, .block_rows = 1, .sparse_matmul = tt_sparse_matmul_compressed},
            {"vectorised", "a strip of the result stays in vectors while the weights of its row pass by",
             "vector/sparse_matmul_3_vectorised.c", vector->flags, .block_rows = 1,
             .sparse_matmul = vector->sparse_matmul_vectorised},
            {"blocks", "weights in blocks of four rows: every load of x serves four products",
             "vector/sparse_matmul_4_blocks.c", vector->flags, .block_rows = 4,
             .sparse_matmul = vector->sparse_matmul_blocks},
        },
        [TT_CONV2D_LADDER] = {
            {"plain", "a window of x times the weights, for each pixel of y",
             "conv2d_0_plain.c", plain_c, .conv2d = tt_conv2d_plain},
            {"reordered", "a weight times a whole plane of x: rows are read along, borders cut off beforehand",
             "conv2d_1_reordered.c", plain_c, .conv2d = tt_conv2d_reordered},
            {"unfolded", "the windows copied into the columns of a matrix: what is left is a matrix product",
             "conv2d_2_unfolded.c", plain_c, .conv2d = tt_conv2d_unfolded},
            {"vectorised", "the same with the packed, vectorised matrix product",
             "vector/conv2d_3_vectorised.c", vector->flags, .conv2d = vector->conv2d_vectorised},
            {"in place", "the product without the matrix: windows are read from the image, by a table of offsets",
             "vector/conv2d_4_in_place.c", vector->flags, .conv2d = vector->conv2d_in_place},
        },
        [TT_ATTENTION_LADDER] = {
            {"plain", "three passes over a matrix of all scores: products, softmax, weighted sums",
             "attention_0_plain.c", plain_c, .attention = tt_attention_plain},
            {"rows", "one query after the other: the scores of one row are enough, and v is read along its rows",
             "attention_1_rows.c", plain_c, .attention = tt_attention_rows},
            {"online", "no scores are stored: the sums are corrected whenever a larger score turns up",
             "attention_2_online.c", plain_c, .attention = tt_attention_online},
            {"tiled", "a tile of queries and keys at a time: every load serves four products, one correction a tile",
             "attention_3_tiled.c", plain_c, .attention = tt_attention_tiled},
            {"vectorised", "the same tiles, a vector of queries in each instruction",
             "vector/attention_4_vectorised.c", vector->flags, .attention = vector->attention_vectorised},
        },
    };
    return step < MOST_STEPS ? ladders[ladder][step] : (tt_lesson){0};
}

int tt_ladder_steps(tt_ladder ladder)
{
    int steps = 0;
    while (tt_ladder_step(ladder, steps).name) steps++;
    return steps;
}
