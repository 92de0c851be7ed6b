/* INT8 convolution as a matmul that reads the image where it lies.
 *
 * Each image is first turned around: pixels in rows, a pixel's channels side by side (NHWC), with its border of
 * zero points. Then the values under one row of the kernel are contiguous, and the patch under an output pixel
 * is kernel_h runs at fixed distances from that pixel's address. The tile takes those addresses for the
 * rows of its left operand, so patches are never copied.
 *
 * A dilated kernel row is contiguous too when the columns are stored in dilation_w interleaved phases:
 * 0, d, 2d, ..., 1, d + 1, ...
 *
 * Results leave the tile as pixels by channels, and are turned around again in blocks that fit in L1. */
#include "ops/int8.h"

#include <string.h>

enum { CHUNK = 160 /* output pixels at a time: whole tiles of 10 or 8, whole blocks of 16 to transpose */ };

typedef struct {
    const tt_conv2d_shape *shape;
    const tt_int8_kernels *kernels;
    const tt_quantize_kernels *quantize;
    tt_quantized x;
    const int8_t *panels;
    const tt_finish_int8 *finish;
    void *y;

    size_t channels, outputs;             /* of one group */
    size_t run, depth;                    /* elements under one kernel row; all, each run rounded up to 4 */
    size_t phase_columns, padded_columns; /* columns in one phase, and in all */
    size_t padded_pixels, element_bytes;
    size_t chunks, panels_each_group;
    size_t *offsets; /* of the kernel rows, in bytes */
    size_t *columns; /* of the patch under each column of y, in bytes */

    char *images; /* for each worker: the image turned around, as bytes and as the tile takes it */
    size_t image_bytes, wide_offset;
    const char *image; /* the one at hand, when all workers share it */
    size_t index;      /* its number: batch index times groups, plus group */
} conv_job;

/* ---- weights: the kernel as a matrix (kernel_h * run, outputs), runs padded to 4 ---- */

static size_t channels_of(const tt_conv2d_shape *s) { return s->channels / s->groups; }
static size_t run_of(const tt_conv2d_shape *s) { return s->kernel_w * channels_of(s); }
static size_t depth_of(const tt_conv2d_shape *s) { return s->kernel_h * tt_depth_int8(run_of(s)); }

static size_t weight_index(const tt_conv2d_shape *s, size_t o, size_t depth)
{
    size_t padded = tt_depth_int8(run_of(s)), row = depth / padded, e = depth % padded;
    size_t channels = channels_of(s), column = e / channels, channel = e % channels;
    return ((o * channels + channel) * s->kernel_h + row) * s->kernel_w + column;
}

size_t tt_conv2d_packed_bytes_int8(const tt_conv2d_shape *shape)
{
    return tt_layer_bytes_int8(depth_of(shape), shape->outputs / shape->groups, shape->groups);
}

tt_status tt_conv2d_pack_int8(const tt_conv2d_shape *shape, const int8_t *w, uint8_t *packed)
{
    size_t depth = depth_of(shape), n = shape->outputs / shape->groups, run = run_of(shape);
    int8_t *matrix = tt_scratch_acquire(depth * n);
    if (!matrix) return TT_OUT_OF_MEMORY;
    memset(packed, 0, tt_conv2d_packed_bytes_int8(shape));
    for (size_t group = 0; n > 0 && group < shape->groups; group++) {
        for (size_t d = 0; d < depth; d++)
            for (size_t j = 0; j < n; j++)
                matrix[d * n + j] = d % tt_depth_int8(run) < run ? w[weight_index(shape, group * n + j, d)] : 0;
        tt_pack_layer_int8(depth, n, shape->groups, group, matrix, packed);
    }
    tt_scratch_release(matrix);
    return TT_OK;
}

tt_status tt_conv2d_unpack_int8(const tt_conv2d_shape *shape, const uint8_t *packed, int8_t *w)
{
    size_t depth = depth_of(shape), n = shape->outputs / shape->groups, run = run_of(shape);
    int8_t *matrix = tt_scratch_acquire(depth * n);
    if (!matrix) return TT_OUT_OF_MEMORY;
    for (size_t group = 0; n > 0 && group < shape->groups; group++) {
        tt_unpack_panels_int8(depth, n, (const int8_t *)packed + group * depth * n, matrix);
        for (size_t d = 0; d < depth; d++)
            for (size_t j = 0; j < n; j++)
                if (d % tt_depth_int8(run) < run) w[weight_index(shape, group * n + j, d)] = matrix[d * n + j];
    }
    tt_scratch_release(matrix);
    return TT_OK;
}

/* ---- the image, turned around ---- */

/* Where column x of the padded image is stored. */
static size_t position(const conv_job *job, size_t x)
{
    size_t d = job->shape->dilation_w;
    return x % d * job->phase_columns + x / d;
}

static void copy_row(const conv_job *job, const uint8_t *pixels, uint8_t *row)
{
    const tt_conv2d_shape *s = job->shape;
    if (s->dilation_w == 1) {
        memcpy(row + s->pad_w * job->channels, pixels, s->width * job->channels);
    } else {
        for (size_t x = 0; x < s->width; x++)
            memcpy(row + position(job, s->pad_w + x) * job->channels, pixels + x * job->channels, job->channels);
    }
}

/* Image `index` (batch index times groups, plus group) as the tile takes it. */
static const char *turn_around(const conv_job *job, size_t index, int worker)
{
    const tt_conv2d_shape *s = job->shape;
    size_t pixels = s->height * s->width, row_bytes = job->padded_columns * job->channels;
    size_t bytes = job->padded_pixels * job->channels;
    uint8_t *padded = (uint8_t *)job->images + (size_t)worker * job->image_bytes;
    uint8_t *wide = padded + job->wide_offset;
    const uint8_t *x = job->x.data + index * job->channels * pixels;

    int as_it_is = job->padded_pixels == pixels && s->dilation_w == 1;
    uint8_t *flat = as_it_is ? padded : wide; /* `wide` is free until the end */
    job->quantize->transpose(job->channels, pixels, x, pixels, flat, job->channels);
    if (!as_it_is) {
        memset(padded, (uint8_t)job->x.zero_point, bytes);
        for (size_t y = 0; y < s->height; y++)
            copy_row(job, flat + y * s->width * job->channels, padded + (s->pad_h + y) * row_bytes);
    }
    if (job->element_bytes == 1 && tt_shift_int8(job->kernels, job->x.is_signed) == 0) return (char *)padded;
    job->quantize->convert(bytes, padded, job->x.is_signed, job->kernels->a_type, wide);
    return (char *)wide;
}

/* ---- one chunk of pixels by one panel of channels ---- */

/* The addresses under which the patches of `count` output pixels from `first` on begin. */
static void find_patches(const conv_job *job, const char *image, size_t first, size_t count, const char **patches)
{
    const tt_conv2d_shape *s = job->shape;
    size_t row_bytes = s->stride_h * job->padded_columns * job->channels * job->element_bytes;
    size_t x = first % s->out_w;
    image += first / s->out_w * row_bytes;
    for (size_t t = 0; t < count; t++) {
        patches[t] = image + job->columns[x];
        if (++x == s->out_w) x = 0, image += row_bytes;
    }
}

/* values (count, nr) of pixels by channels to y (n, pixels). */
static void scatter_floats(const float *values, size_t nr, size_t count, size_t n, float *y, size_t pixels)
{
    for (size_t j = 0; j < n; j++)
        for (size_t t = 0; t < count; t++) y[j * pixels + t] = values[t * nr + j];
}

static void convolve(const conv_job *job, const char *image, size_t index, size_t chunk, size_t panel)
{
    const tt_conv2d_shape *s = job->shape;
    size_t nr = job->kernels->nr, mr = job->kernels->mr, pixels = s->out_h * s->out_w;
    size_t group = index % s->groups, j = panel * nr, n = tt_min(nr, job->outputs - j);
    size_t first = chunk * CHUNK, count = tt_min(CHUNK, pixels - first);
    size_t rows_each = tt_div_up(count, tt_div_up(count, mr));
    const int8_t *b = job->panels + (group * job->outputs + j) * job->depth;
    size_t column = group * job->finish->stride + j;
    tt_requantization how = tt_columns_from(&job->finish->how, column);

    const char *patches[CHUNK];
    int32_t sums[TT_INT8_MOST_ROWS * TT_INT8_MOST_COLUMNS];
    union {
        float floats[CHUNK * TT_INT8_MOST_COLUMNS];
        uint8_t bytes[CHUNK * TT_INT8_MOST_COLUMNS];
    } values;
    find_patches(job, image, first, count, patches);
    for (size_t t = 0; t < count; t += rows_each) {
        size_t m = tt_min(rows_each, count - t);
        job->kernels->tile(m, patches + t, job->offsets, s->kernel_h, tt_div_up(job->run, 4), b, n,
                           job->finish->start + column, sums);
        if (job->finish->type == TT_FLOAT32)
            job->quantize->to_floats(m, n, sums, nr, &how, values.floats + t * nr, nr);
        else
            job->quantize->to_bytes(m, n, sums, nr, &how, values.bytes + t * nr, nr);
    }
    size_t at = (index * job->outputs + j) * pixels + first;
    if (job->finish->type == TT_FLOAT32)
        scatter_floats(values.floats, nr, count, n, (float *)job->y + at, pixels);
    else
        job->quantize->transpose(count, n, values.bytes, nr, (uint8_t *)job->y + at, pixels);
}

static void convolve_image(void *context, size_t index, int worker)
{
    const conv_job *job = context;
    const char *image = turn_around(job, index, worker);
    for (size_t chunk = 0; chunk < job->chunks; chunk++)
        for (size_t panel = 0; panel < job->panels_each_group; panel++) convolve(job, image, index, chunk, panel);
}

static void convolve_piece(void *context, size_t piece, int worker)
{
    (void)worker;
    const conv_job *job = context;
    convolve(job, job->image, job->index, piece / job->panels_each_group, piece % job->panels_each_group);
}

/* ---- the whole convolution ---- */

/* 0 when the padded image is too large to be addressed. */
static int lay_out(conv_job *job)
{
    const tt_conv2d_shape *s = job->shape;
    job->channels = channels_of(s);
    job->outputs = s->outputs / s->groups;
    job->run = run_of(s);
    job->depth = depth_of(s);
    job->element_bytes = job->kernels->a_type == TT_A_INT16 ? 2 : 1;
    job->phase_columns = tt_div_up(s->width + 2 * s->pad_w, s->dilation_w);
    job->padded_columns = job->phase_columns * s->dilation_w;
    job->padded_pixels = job->padded_columns * (s->height + 2 * s->pad_h);
    job->chunks = tt_div_up(s->out_h * s->out_w, CHUNK);
    job->panels_each_group = tt_div_up(job->outputs, job->kernels->nr);
    double most_bytes = ((double)s->width + 2.0 * (double)s->pad_w + (double)s->dilation_w) *
                        ((double)s->height + 2.0 * (double)s->pad_h) * (double)job->channels * 4.0;
    if (most_bytes > (double)(SIZE_MAX / 1024)) return 0;
    /* A run that is no multiple of 4 is read up to 3 elements beyond its end; their weights are zero. */
    size_t slack = 64, bytes = job->padded_pixels * job->channels;
    job->wide_offset = tt_round_up(bytes + slack, 64);
    job->image_bytes = job->wide_offset + tt_round_up(bytes * job->element_bytes + slack, 64);
    return 1;
}

static tt_status run(conv_job *job)
{
    const tt_conv2d_shape *s = job->shape;
    size_t images = s->batch * s->groups, pixels = s->out_h * s->out_w;
    if (images == 0 || job->outputs == 0 || pixels == 0) return TT_OK;
    /* Four products for the time of one in float32. */
    int workers = tt_workers_for(0.5 * (double)(images * job->outputs) * (double)pixels * (double)job->depth);
    size_t offset_bytes = tt_round_up((s->kernel_h + s->out_w) * sizeof(size_t), 64);
    int one_each = images >= 2 * (size_t)workers; /* an image for each worker, or all workers on one image */
    char *scratch = tt_scratch_acquire(offset_bytes + (one_each ? (size_t)workers : 1) * job->image_bytes);
    if (!scratch) return TT_OUT_OF_MEMORY;
    job->offsets = (size_t *)(void *)scratch;
    job->columns = job->offsets + s->kernel_h;
    job->images = scratch + offset_bytes;
    size_t pixel_bytes = job->channels * job->element_bytes;
    for (size_t r = 0; r < s->kernel_h; r++)
        job->offsets[r] = r * s->dilation_h * job->padded_columns * pixel_bytes;
    for (size_t x = 0; x < s->out_w; x++) job->columns[x] = position(job, x * s->stride_w) * pixel_bytes;

    if (one_each) {
        tt_parallel_for(workers, images, convolve_image, job);
    } else {
        for (job->index = 0; job->index < images; job->index++) {
            job->image = turn_around(job, job->index, 0);
            tt_parallel_for(workers, job->chunks * job->panels_each_group, convolve_piece, job);
        }
    }
    tt_scratch_release(scratch);
    return TT_OK;
}

tt_status tt_conv2d_int8(const tt_conv2d_shape *shape, tt_quantized x, const uint8_t *packed, const float *w_scale,
                         const float *bias, tt_result result)
{
    tt_finish_int8 finish;
    conv_job job = {.shape = shape, .kernels = tt_kernels()->int8, .quantize = tt_kernels()->quantize, .x = x,
                    .panels = (const int8_t *)packed, .finish = &finish, .y = result.y};
    if (!lay_out(&job)) return TT_OUT_OF_MEMORY;
    tt_status status =
        tt_begin_finish_int8(job.depth, job.outputs, shape->groups, x, packed, w_scale, bias, &result, &finish);
    if (status != TT_OK) return status;
    status = run(&job);
    tt_scratch_release(finish.scratch);
    return status;
}
