/* Single elements in the order in which panels of columns meet them: sliced and sorted rows, tile by tile.
 *
 * A tile is a window of rows by a block of depth; its part of x fits L1. Within it, rows are sorted by their
 * number of elements and taken four at a time, so that one loop with one predictable end serves four rows.
 * ("A Unified Sparse Matrix Data Format for Efficient General Sparse Matrix-Vector Multiplication on Modern
 * Processors with Wide SIMD Units", Kreutzer, Hager, Wellein, Fehske and Bishop, 2014, sorts and slices so.) */
#include "ops/sparse.h"

#include <stdlib.h>
#include <string.h>

enum { LEAST_DEPTH = 128, ALIGNMENT = 64 };

/* How many elements of a row should lie in a tile: reading and writing its sums costs as much as two or three. */
static const double ELEMENTS_FOR_A_VISIT = 8;

/* What the memory starts with. The rest follows, each part aligned: tiles, slices and one more, columns, values. */
typedef struct {
    int64_t m, k, elements, depth, depth_blocks, windows, slices, groups;
} header;

typedef struct {
    size_t tiles, slices, columns, values, end;
} layout; /* offsets in bytes */

static layout layout_of(const header *counts)
{
    layout at = {.tiles = tt_round_up(sizeof *counts, ALIGNMENT)};
    size_t tiles = (size_t)(counts->depth_blocks * counts->windows) + 1;
    at.slices = at.tiles + tt_round_up(tiles * sizeof(int32_t), ALIGNMENT);
    at.columns = at.slices + tt_round_up((size_t)(counts->slices + 1) * sizeof(tt_slice), ALIGNMENT);
    at.values = at.columns + tt_round_up((size_t)counts->groups * sizeof(uint64_t), ALIGNMENT);
    at.end = at.values + (size_t)counts->groups * TT_SLICE_ROWS * sizeof(float);
    return at;
}

tt_sliced tt_sliced_of(const void *slices)
{
    const header *counts = slices;
    const char *memory = slices;
    layout at = layout_of(counts);
    return (tt_sliced){(size_t)counts->depth, (size_t)counts->depth_blocks, (size_t)counts->windows,
                       (const int32_t *)(memory + at.tiles), (const tt_slice *)(memory + at.slices),
                       (const uint64_t *)(memory + at.columns), (const float *)(memory + at.values)};
}

int tt_are_sparse_slices(const void *slices, size_t bytes, size_t m, size_t k)
{
    const header *counts = slices;
    return bytes >= sizeof *counts && (size_t)counts->m == m && (size_t)counts->k == k &&
           layout_of(counts).end == bytes;
}

static size_t depth_for(const tt_sparse_matrix *w)
{
    double elements = (double)w->row_pointers[w->m], each = elements / ((double)w->m * (double)w->k);
    size_t depth = LEAST_DEPTH;
    while (depth < TT_MOST_DEPTH && (double)depth * each < ELEMENTS_FOR_A_VISIT) depth *= 2;
    return depth;
}

/* ---- making them ---- */

/* Counts what it would write, and writes it where there is memory. */
typedef struct {
    header counts;
    layout at;
    char *memory;
} writer;

typedef struct {
    size_t row;
    int32_t first, count;
} run; /* a row's elements within a tile */

static int compare_runs(const void *a, const void *b)
{
    const run *left = a, *right = b;
    if (left->count != right->count) return left->count < right->count ? -1 : 1;
    return left->row < right->row ? -1 : 1;
}

static size_t column_of(const tt_sparse_matrix *w, int32_t element)
{
    return w->wide_indices ? (size_t)((const int32_t *)w->indices)[element] : ((const uint16_t *)w->indices)[element];
}

/* The groups of a slice: element after element of each of its runs, then zeros until all are as long as the last. */
static void write_groups(const tt_sparse_matrix *w, const run *runs, size_t count, size_t first_column, writer *to)
{
    uint64_t *columns = (uint64_t *)(to->memory + to->at.columns) + to->counts.groups;
    float *values = (float *)(to->memory + to->at.values) + to->counts.groups * TT_SLICE_ROWS;
    for (int32_t place = 0; place < runs[count - 1].count; place++, columns++, values += TT_SLICE_ROWS) {
        *columns = 0;
        for (size_t i = 0; i < TT_SLICE_ROWS; i++) {
            int there = i < count && place < runs[i].count;
            int32_t element = there ? runs[i].first + place : 0;
            size_t column = there ? column_of(w, element) - first_column : (size_t)to->counts.depth;
            *columns |= (uint64_t)column << 16 * i;
            values[i] = there ? w->values[element] : 0.0f;
        }
    }
}

static void write_slice(const tt_sparse_matrix *w, const run *runs, size_t count, size_t first_column, writer *to)
{
    if (to->memory) {
        tt_slice *slice = (tt_slice *)(to->memory + to->at.slices) + to->counts.slices;
        slice->first = (int32_t)to->counts.groups;
        for (size_t i = 0; i < TT_SLICE_ROWS; i++)
            slice->rows[i] = i < count ? (uint16_t)runs[i].row : (uint16_t)TT_NO_ROW;
        write_groups(w, runs, count, first_column, to);
    }
    to->counts.slices++;
    to->counts.groups += runs[count - 1].count;
}

/* The elements of each row from next[row] on; next[row] moves to the tile behind. */
static void write_tile(const tt_sparse_matrix *w, size_t first_row, size_t first_column, int32_t *next, writer *to)
{
    run runs[TT_WINDOW];
    size_t rows = tt_min(TT_WINDOW, w->m - first_row);
    for (size_t i = 0; i < rows; i++) {
        int32_t first = next[first_row + i], last = w->row_pointers[first_row + i + 1], element = first;
        while (element < last && column_of(w, element) < first_column + (size_t)to->counts.depth) element++;
        runs[i] = (run){i, first, element - first};
        next[first_row + i] = element;
    }
    qsort(runs, rows, sizeof *runs, compare_runs);
    for (size_t i = 0; i < rows; i += TT_SLICE_ROWS)
        write_slice(w, runs + i, tt_min(TT_SLICE_ROWS, rows - i), first_column, to);
}

static tt_status write_all(const tt_sparse_matrix *w, writer *to)
{
    int32_t *next = tt_scratch_acquire(w->m * sizeof *next);
    if (!next) return TT_OUT_OF_MEMORY;
    if (w->m) memcpy(next, w->row_pointers, w->m * sizeof *next);
    int32_t *tiles = to->memory ? (int32_t *)(to->memory + to->at.tiles) : NULL;
    for (int64_t d = 0; d < to->counts.depth_blocks; d++)
        for (int64_t i = 0; i < to->counts.windows; i++) {
            if (tiles) *tiles++ = (int32_t)to->counts.slices;
            write_tile(w, (size_t)i * TT_WINDOW, (size_t)(d * to->counts.depth), next, to);
        }
    if (tiles) {
        *tiles = (int32_t)to->counts.slices;
        tt_slice *end = (tt_slice *)(to->memory + to->at.slices) + to->counts.slices;
        *end = (tt_slice){{TT_NO_ROW, TT_NO_ROW, TT_NO_ROW, TT_NO_ROW}, (int32_t)to->counts.groups};
    }
    tt_scratch_release(next);
    return TT_OK;
}

static tt_status count_all(const tt_sparse_matrix *w, writer *to)
{
    size_t depth = depth_for(w);
    *to = (writer){.counts = {.m = (int64_t)w->m, .k = (int64_t)w->k,
                              .elements = w->row_pointers[w->m], .depth = (int64_t)depth,
                              .depth_blocks = (int64_t)tt_max(1, tt_div_up(w->k, depth)),
                              .windows = (int64_t)tt_div_up(w->m, TT_WINDOW)}};
    return write_all(w, to);
}

tt_status tt_sparse_slices_size(const tt_sparse_matrix *w, size_t *bytes)
{
    writer count;
    tt_status status = count_all(w, &count);
    *bytes = layout_of(&count.counts).end;
    return status;
}

tt_status tt_slice_sparse(const tt_sparse_matrix *w, void *slices)
{
    writer to;
    tt_status status = count_all(w, &to);
    if (status != TT_OK) return status;
    header total = to.counts;
    to.at = layout_of(&total);
    to.memory = slices;
    memset(slices, 0, to.at.columns); /* what lies between the parts */
    memcpy(slices, &total, sizeof total);
    to.counts.slices = to.counts.groups = 0;
    return write_all(w, &to);
}

/* ---- and back ---- */

/* Calls visit(context, row, column, value) for every element: within a row, from left to right. */
typedef void visitor(void *context, size_t row, size_t column, float value);

static void visit_elements(const tt_sliced *w, visitor *visit, void *context)
{
    for (size_t d = 0; d < w->depth_blocks; d++)
        for (size_t i = 0; i < w->windows; i++) {
            tt_slices tile = tt_tile_of(w, d, i);
            for (const tt_slice *slice = tile.slices; slice < tile.slices + tile.count; slice++)
                for (int32_t group = slice->first; group < slice[1].first; group++)
                    for (size_t t = 0; t < TT_SLICE_ROWS; t++) {
                        size_t column = w->columns[group] >> 16 * t & 0xffff;
                        if (column < w->depth)
                            visit(context, i * TT_WINDOW + slice->rows[t], d * w->depth + column,
                                  w->values[(size_t)group * TT_SLICE_ROWS + t]);
                    }
        }
}

typedef struct {
    float *values;
    int32_t *indices, *row_pointers;
} arrays;

static void count_in_row(void *context, size_t row, size_t column, float value)
{
    (void)column, (void)value;
    ((arrays *)context)->row_pointers[row]++;
}

/* row_pointers[row] stands at the row's next free place. */
static void put_into_row(void *context, size_t row, size_t column, float value)
{
    arrays *to = context;
    int32_t place = to->row_pointers[row]++;
    to->values[place] = value;
    to->indices[place] = (int32_t)column;
}

size_t tt_sparse_slices_elements(const void *slices) { return (size_t)((const header *)slices)->elements; }

void tt_unslice_sparse(const void *slices, float *values, int32_t *indices, int32_t *row_pointers)
{
    tt_sliced w = tt_sliced_of(slices);
    size_t m = (size_t)((const header *)slices)->m;
    arrays to = {values, indices, row_pointers};
    memset(row_pointers, 0, (m + 1) * sizeof *row_pointers);
    visit_elements(&w, count_in_row, &to);
    int32_t before = 0;
    for (size_t i = 0; i <= m; i++) {
        int32_t count = row_pointers[i];
        row_pointers[i] = before;
        before += count;
    }
    visit_elements(&w, put_into_row, &to);
    memmove(row_pointers + 1, row_pointers, m * sizeof *row_pointers);
    row_pointers[0] = 0;
}
