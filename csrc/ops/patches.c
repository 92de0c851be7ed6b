#include "ops/patches.h"

#include <string.h>

enum { WIDEST_PANEL = 64 };

static const double MOST_FLOATS = 1e15; /* beyond any memory, and far from overflowing a size_t */

/* ---- the tables ---- */

/* How many offsets from the first on are neighbours. */
static size_t run_length(const size_t *offsets, size_t count)
{
    size_t length = 1;
    while (length < count && offsets[length] == offsets[0] + length) length++;
    return length;
}

static void fill_tables(tt_patches *patches)
{
    const tt_conv2d_shape *shape = patches->shape;
    size_t phases = patches->phases, phase = patches->columns / phases, step = shape->stride_w / phases;
    size_t t = 0, p = 0;
    for (size_t c = 0; c < patches->channels; c++)
        for (size_t r = 0; r < shape->kernel_h; r++)
            for (size_t s = 0; s < shape->kernel_w; s++) {
                size_t row = c * patches->rows + r * shape->dilation_h, column = s * shape->dilation_w;
                patches->tap_offsets[t++] = row * patches->columns + column % phases * phase + column / phases;
            }
    for (size_t i = 0; i < shape->out_h; i++)
        for (size_t j = 0; j < shape->out_w; j++)
            patches->pixel_offsets[p++] = i * shape->stride_h * patches->columns + j * step;
    patches->run = run_length(patches->pixel_offsets, patches->pixels);
}

tt_status tt_patches_begin(tt_patches *patches, const tt_conv2d_shape *shape, tt_image_layout layout)
{
    size_t channels = shape->channels / shape->groups;
    *patches = (tt_patches){
        .shape = shape,
        .channels = channels,
        .taps = channels * shape->kernel_h * shape->kernel_w,
        .pixels = shape->out_h * shape->out_w,
        .rows = shape->height + 2 * shape->pad_h,
        .phases = layout == TT_BY_STRIDE ? shape->stride_w : 1,
    };
    patches->columns = tt_round_up(shape->width + 2 * shape->pad_w, patches->phases);
    double floats = (double)channels * (double)patches->rows * (double)patches->columns;
    double offsets = (double)patches->taps + (double)shape->out_h * (double)shape->out_w;
    if (floats > MOST_FLOATS || offsets > MOST_FLOATS) return TT_OUT_OF_MEMORY;
    patches->image_floats = channels * patches->rows * patches->columns;
    patches->as_it_is = shape->pad_h == 0 && shape->pad_w == 0 && patches->phases == 1;

    patches->tap_offsets = tt_scratch_acquire((patches->taps + patches->pixels) * sizeof(size_t));
    if (!patches->tap_offsets) return TT_OUT_OF_MEMORY;
    patches->pixel_offsets = patches->tap_offsets + patches->taps;
    fill_tables(patches);
    return TT_OK;
}

void tt_patches_end(tt_patches *patches) { tt_scratch_release(patches->tap_offsets); }

/* ---- the image ---- */

/* Columns that are a stride apart become neighbours; the row is zero before. */
static void lay_out_row(const tt_patches *patches, const float *x, float *row)
{
    size_t width = patches->shape->width, left = patches->shape->pad_w, phases = patches->phases;
    size_t phase = patches->columns / phases;
    if (phases == 1) {
        memcpy(row + left, x, width * sizeof *row);
        return;
    }
    for (size_t first = 0; first < tt_min(phases, width); first++) {
        float *to = row + (left + first) % phases * phase + (left + first) / phases;
        for (size_t j = first; j < width; j += phases) *to++ = x[j];
    }
}

static void take_back_row(const tt_patches *patches, const float *row, float *x)
{
    size_t width = patches->shape->width, left = patches->shape->pad_w, phases = patches->phases;
    size_t phase = patches->columns / phases;
    for (size_t first = 0; first < tt_min(phases, width); first++) {
        const float *from = row + (left + first) % phases * phase + (left + first) / phases;
        for (size_t j = first; j < width; j += phases) x[j] = *from++;
    }
}

void tt_patches_lay_out_rows(const tt_patches *patches, size_t channels, size_t first, size_t rows,
                             const float *x, float *image)
{
    const tt_conv2d_shape *shape = patches->shape;
    size_t columns = patches->columns, begin = tt_max(first, shape->pad_h);
    size_t end = tt_min(first + rows, shape->pad_h + shape->height);
    size_t floats = shape->height * shape->width;
    for (size_t c = 0; c < channels; c++, image += patches->rows * columns, x += floats) {
        memset(image + first * columns, 0, rows * columns * sizeof *image);
        for (size_t i = begin; i < end; i++)
            lay_out_row(patches, x + (i - shape->pad_h) * shape->width, image + i * columns);
    }
}

void tt_patches_lay_out(const tt_patches *patches, const float *x, float *image)
{
    tt_patches_lay_out_rows(patches, patches->channels, 0, patches->rows, x, image);
}

void tt_patches_take_back(const tt_patches *patches, const float *image, float *x)
{
    const tt_conv2d_shape *shape = patches->shape;
    for (size_t c = 0; c < patches->channels; c++)
        for (size_t i = 0; i < shape->height; i++, x += shape->width)
            take_back_row(patches, image + (c * patches->rows + shape->pad_h + i) * patches->columns, x);
}

/* ---- the operand ---- */

static void fill_panel(const tt_patch_operand *operand, size_t k, size_t kc, size_t first, size_t count,
                       size_t width, float *panel)
{
    const size_t *across = operand->across + first;
    tt_run runs[WIDEST_PANEL];
    size_t run_count = 0;
    for (size_t j = 0; j < count; run_count++) {
        size_t length = run_length(across + j, count - j);
        runs[run_count] = (tt_run){across[j], j, length};
        j += length;
    }
    if (count < width) memset(panel, 0, kc * width * sizeof *panel);
    tt_kernels()->vector->conv->copy_runs(operand->image, operand->depth + k, kc, runs, run_count, width, panel);
}

static void fill_patches(const void *source, size_t k, size_t kc, size_t first, size_t count, size_t width,
                         float *panels)
{
    for (size_t t = 0; t < count; t += width)
        fill_panel(source, k, kc, first + t, tt_min(width, count - t), width, panels + t * kc);
}

tt_operand tt_columns_of_patches(const tt_patch_operand *operand)
{
    return (tt_operand){NULL, fill_patches, operand};
}
