/* INT8 convolution as a matmul that reads the image where it lies.
 *
 * The tile wants a pixel's channels side by side (NHWC): then the values under one row of the kernel are
 * contiguous, and the patch under an output pixel is kernel_h runs at fixed distances from that pixel's
 * address. The tile takes those addresses for the rows of its left operand, so patches are never copied; in
 * whatever order: the pixels of one pooling window follow each other, and their sums are pooled before they
 * become results.
 *
 * Before that each image is laid out with its border of zero points, and turned around where it comes as
 * planes (NCHW). A dilated kernel row is contiguous too when the columns are stored in dilation_w interleaved
 * phases: 0, d, 2d, ..., 1, d + 1, ...
 *
 * Results leave the tile as pixels by channels; planes are made of them in blocks that fit in L1.
 *
 * A depthwise convolution has nothing to sum over channels: all of them are laid out as one group, and
 * another micro-kernel takes the place of the tile. */
#include "ops/int8.h"

#include <string.h>

/* Output pixels at a time: whole tiles of 10 or 8 and whole blocks of 16 to transpose, and so many that a
 * plane is written in runs of several cache lines, while a panel of results still fits in L1. */
enum { CHUNK = 320, CHUNK_BYTES = CHUNK * TT_INT8_MOST_COLUMNS };

typedef struct {
    const tt_conv2d_shape *shape;
    const tt_conv2d_form *form;
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
    tt_int8_operand a_type; /* what the image is laid out as */
    int depthwise;
    size_t pooled, result_w, results;     /* pixels for one result; results in a row and in all */
    tt_result_type result_type;
    size_t chunk, chunks, panels_each_group;
    size_t *offsets; /* of the kernel rows, or for depthwise of each tap, in bytes */
    size_t offset_count;
    size_t *columns; /* of the patch under each output column, in bytes */

    char *images; /* for each worker: the image laid out, as bytes and as the tile takes it */
    size_t image_bytes, wide_offset;
    const char *image; /* the one at hand, when all workers share it */
    size_t index;      /* its number: batch index times groups, plus group */
} conv_job;

/* ---- weights: the kernel as a matrix (kernel_h * run, outputs), runs padded to 4 ---- */

static size_t channels_of(const tt_conv2d_shape *s) { return s->channels / s->groups; }
static size_t run_of(const tt_conv2d_shape *s) { return s->kernel_w * channels_of(s); }
static size_t depth_of(const tt_conv2d_shape *s) { return s->kernel_h * tt_depth_int8(run_of(s)); }

/* Whether a row of the matrix holds weights; the others fill up a run. */
static int is_weight(const tt_conv2d_shape *s, size_t depth)
{
    return depth % tt_depth_int8(run_of(s)) < run_of(s);
}

static size_t weight_index(const tt_conv2d_shape *s, size_t o, size_t depth)
{
    size_t padded = tt_depth_int8(run_of(s)), row = depth / padded, e = depth % padded;
    size_t channels = channels_of(s), column = e / channels, channel = e % channels;
    return ((o * channels + channel) * s->kernel_h + row) * s->kernel_w + column;
}

/* Depthwise weights are stored as (taps, channels). */
static int is_depthwise(const tt_conv2d_shape *s)
{
    return s->groups > 1 && s->groups == s->channels && s->groups == s->outputs;
}

size_t tt_conv2d_packed_bytes_int8(const tt_conv2d_shape *shape)
{
    if (is_depthwise(shape))
        return tt_layer_bytes_int8(shape->kernel_h * shape->kernel_w, shape->channels, 1);
    return tt_layer_bytes_int8(depth_of(shape), shape->outputs / shape->groups, shape->groups);
}

static void pack_depthwise(const tt_conv2d_shape *shape, const int8_t *w, uint8_t *packed)
{
    size_t taps = shape->kernel_h * shape->kernel_w, channels = shape->channels;
    tt_kernels()->quantize->transpose(channels, taps, (const uint8_t *)w, taps, packed, channels);
    tt_store_sums_int8(taps, taps, channels, 1, 0, (int8_t *)packed, packed);
}

static void unpack_depthwise(const tt_conv2d_shape *shape, const uint8_t *packed, int8_t *w)
{
    size_t taps = shape->kernel_h * shape->kernel_w, channels = shape->channels;
    tt_kernels()->quantize->transpose(taps, channels, packed, channels, (uint8_t *)w, taps);
}

tt_status tt_conv2d_pack_int8(const tt_conv2d_shape *shape, const int8_t *w, uint8_t *packed)
{
    memset(packed, 0, tt_conv2d_packed_bytes_int8(shape));
    if (is_depthwise(shape)) {
        pack_depthwise(shape, w, packed);
        return TT_OK;
    }
    size_t depth = depth_of(shape), n = shape->outputs / shape->groups;
    int8_t *matrix = tt_scratch_acquire(depth * n);
    if (!matrix) return TT_OUT_OF_MEMORY;
    for (size_t group = 0; n > 0 && group < shape->groups; group++) {
        for (size_t d = 0; d < depth; d++)
            for (size_t j = 0; j < n; j++)
                matrix[d * n + j] = is_weight(shape, d) ? w[weight_index(shape, group * n + j, d)] : 0;
        tt_pack_layer_int8(depth, n, shape->groups, group, matrix, packed);
    }
    tt_scratch_release(matrix);
    return TT_OK;
}

tt_status tt_conv2d_unpack_int8(const tt_conv2d_shape *shape, const uint8_t *packed, int8_t *w)
{
    if (is_depthwise(shape)) {
        unpack_depthwise(shape, packed, w);
        return TT_OK;
    }
    size_t depth = depth_of(shape), n = shape->outputs / shape->groups;
    int8_t *matrix = tt_scratch_acquire(depth * n);
    if (!matrix) return TT_OUT_OF_MEMORY;
    for (size_t group = 0; n > 0 && group < shape->groups; group++) {
        tt_unpack_panels_int8(depth, n, (const int8_t *)packed + group * depth * n, matrix);
        for (size_t d = 0; d < depth; d++)
            for (size_t j = 0; j < n; j++)
                if (is_weight(shape, d)) w[weight_index(shape, group * n + j, d)] = matrix[d * n + j];
    }
    tt_scratch_release(matrix);
    return TT_OK;
}

/* ---- the image, laid out ---- */

/* Where column x of the padded image is stored. */
static size_t position(const conv_job *job, size_t x)
{
    size_t d = job->shape->dilation_w;
    return x % d * job->phase_columns + x / d;
}

/* Pixels that lie `step` bytes apart, with the border of zero points around them. */
static void add_border(const conv_job *job, const uint8_t *pixels, size_t step, uint8_t *padded)
{
    const tt_conv2d_shape *s = job->shape;
    size_t channels = job->channels, row_bytes = job->padded_columns * channels;
    memset(padded, (uint8_t)job->x.zero_point, job->padded_pixels * channels);
    padded += s->pad_h * row_bytes;
    for (size_t y = 0; y < s->height; y++, padded += row_bytes, pixels += s->width * step) {
        if (s->dilation_w == 1 && step == channels)
            memcpy(padded + s->pad_w * channels, pixels, s->width * channels);
        else
            for (size_t x = 0; x < s->width; x++)
                memcpy(padded + position(job, s->pad_w + x) * channels, pixels + x * step, channels);
    }
}

/* Image `index` (batch index times groups, plus group) as the tile takes it. */
static const char *lay_out_image(const conv_job *job, size_t index, int worker)
{
    const tt_conv2d_shape *s = job->shape;
    size_t pixels = s->height * s->width, step = job->channels;
    uint8_t *padded = (uint8_t *)job->images + (size_t)worker * job->image_bytes;
    uint8_t *wide = padded + job->wide_offset;
    int turned = job->form->x_layout == TT_NCHW && job->channels > 1;
    int as_it_is = job->element_bytes == 1 && tt_shift_int8(job->a_type, job->x.is_signed) == 0;
    int bare = job->padded_pixels == pixels && s->dilation_w == 1;
    /* Groups of runs, or vectors of channels, are read beyond their end; but x must not be. */
    if (!turned && as_it_is && job->run % (job->depthwise ? TT_INT8_MOST_COLUMNS : 4)) bare = 0;

    const uint8_t *x = job->x.data + index * job->channels * pixels;
    if (job->form->x_layout == TT_NHWC) {
        x = job->x.data + index / s->groups * pixels * s->channels + index % s->groups * job->channels;
        step = s->channels;
    } else if (turned) {
        uint8_t *flat = bare ? padded : wide; /* `wide` is free until the end */
        job->quantize->transpose(job->channels, pixels, x, pixels, flat, job->channels);
        x = flat;
    }
    if (!bare || step != job->channels) {
        add_border(job, x, step, padded);
        x = padded;
    }
    if (as_it_is) return (const char *)x;
    job->quantize->convert(job->padded_pixels * job->channels, x, job->x.is_signed, job->a_type, wide);
    return (char *)wide;
}

/* ---- one chunk of results by one panel of channels ---- */

/* The addresses under which the patches of `count` results from `first` on begin, window by window. */
static void find_patches(const conv_job *job, const char *image, size_t first, size_t count,
                         const char **patches)
{
    const tt_conv2d_shape *s = job->shape;
    size_t pool_h = job->form->pool_h, pool_w = job->form->pool_w;
    size_t row_bytes = s->stride_h * job->padded_columns * job->channels * job->element_bytes;
    for (size_t r = 0; r < pool_h; r++)
        for (size_t c = 0; c < pool_w; c++, patches++) {
            const char *row = image + (first / job->result_w * pool_h + r) * row_bytes;
            size_t x = first % job->result_w;
            for (size_t t = 0; t < count; t++) {
                patches[t * job->pooled] = row + job->columns[x * pool_w + c];
                if (++x == job->result_w) x = 0, row += pool_h * row_bytes;
            }
        }
}

/* values (count, nr) of pixels by channels to y (n, results). */
static void scatter_floats(const float *values, size_t nr, size_t count, size_t n, float *y, size_t results)
{
    for (size_t j = 0; j < n; j++)
        for (size_t t = 0; t < count; t++) y[j * results + t] = values[t * nr + j];
}

/* sums (m, nr) = the patches times the weights of n channels from column j of the group on. */
static void multiply_patches(const conv_job *job, const char *const *patches, size_t m, size_t group,
                             size_t j, size_t n, int32_t *sums)
{
    size_t nr = job->kernels->nr;
    const int32_t *start = job->finish->start + group * job->finish->stride + j;
    if (job->depthwise) {
        job->quantize->depthwise(m, j, n, (const uint8_t *const *)patches, job->offsets, job->offset_count,
                                 job->panels, job->outputs, start, sums, nr);
        return;
    }
    const int8_t *b = job->panels + (group * job->outputs + j) * job->depth;
    size_t rows = tt_even_rows(m, job->kernels->mr);
    for (size_t i = 0; i < m; i += rows)
        job->kernels->tile(tt_min(rows, m - i), patches + i, job->offsets, job->offset_count,
                           tt_div_up(job->run, 4), b, n, start, sums + i * nr, nr);
}

/* Results first ... first + count of image `index`, for the panel of channels from column j on. */
static void convolve_panel(const conv_job *job, const char *const *patches, size_t index, size_t first,
                           size_t count, size_t j)
{
    size_t nr = job->kernels->nr, n = tt_min(nr, job->outputs - j), pooled = job->pooled;
    size_t group = index % job->shape->groups, image = index / job->shape->groups;
    size_t each = tt_even_rows(count, tt_max(TT_INT8_TILES * job->kernels->mr / pooled, 1));
    tt_requantization how = tt_columns_from(&job->finish->how, group * job->finish->stride + j);

    int32_t sums[TT_INT8_MOST_SUMS];
    union {
        float floats[CHUNK_BYTES / sizeof(float)];
        uint8_t bytes[CHUNK_BYTES];
    } values;
    void *y = &values;
    size_t stride = nr, at = 0;
    if (job->form->y_layout == TT_NHWC) {
        y = job->y;
        stride = job->shape->outputs;
        at = (image * job->results + first) * stride + group * job->outputs + j;
    }
    for (size_t t = 0; t < count; t += each) {
        size_t m = tt_min(each, count - t);
        multiply_patches(job, patches + t * pooled, m * pooled, group, j, n, sums);
        tt_finish_sums(job->finish, &how, m, n, pooled, sums, nr, y, at + t * stride, stride);
    }
    if (job->form->y_layout == TT_NHWC) return;
    at = (index * job->outputs + j) * job->results + first;
    if (job->finish->type == TT_FLOAT32)
        scatter_floats(values.floats, nr, count, n, (float *)job->y + at, job->results);
    else
        job->quantize->transpose(count, n, values.bytes, nr, (uint8_t *)job->y + at, job->results);
}

static void convolve(const conv_job *job, const char *image, size_t index, size_t chunk, size_t panel,
                     size_t panels)
{
    const char *patches[CHUNK];
    size_t first = chunk * job->chunk, count = tt_min(job->chunk, job->results - first);
    find_patches(job, image, first, count, patches);
    for (size_t p = panel; p < panel + panels; p++)
        convolve_panel(job, patches, index, first, count, p * job->kernels->nr);
}

static void convolve_image(void *context, size_t index, int worker)
{
    const conv_job *job = context;
    const char *image = lay_out_image(job, index, worker);
    for (size_t chunk = 0; chunk < job->chunks; chunk++)
        convolve(job, image, index, chunk, 0, job->panels_each_group);
}

static void convolve_piece(void *context, size_t piece, int worker)
{
    (void)worker;
    const conv_job *job = context;
    convolve(job, job->image, job->index, piece / job->panels_each_group, piece % job->panels_each_group, 1);
}

/* ---- the whole convolution ---- */

/* 0 when the padded image is too large to be addressed. */
static int lay_out(conv_job *job)
{
    const tt_conv2d_shape *s = job->shape;
    job->channels = channels_of(s);
    job->outputs = s->outputs / s->groups;
    job->run = run_of(s);
    job->depth = job->depthwise ? s->kernel_h * s->kernel_w : depth_of(s);
    job->a_type = job->depthwise ? TT_A_UINT8 : job->kernels->a_type;
    job->element_bytes = job->a_type == TT_A_INT16 ? 2 : 1;
    job->phase_columns = tt_div_up(s->width + 2 * s->pad_w, s->dilation_w);
    job->padded_columns = job->phase_columns * s->dilation_w;
    job->padded_pixels = job->padded_columns * (s->height + 2 * s->pad_h);
    job->pooled = job->form->pool_h * job->form->pool_w;
    job->result_w = s->out_w / job->form->pool_w;
    job->results = s->out_h / job->form->pool_h * job->result_w;
    job->chunk = CHUNK / job->pooled / (job->result_type == TT_FLOAT32 ? sizeof(float) : 1);
    job->chunks = tt_div_up(job->results, job->chunk);
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
    size_t images = s->batch * s->groups, pixels = job->results * job->pooled;
    if (images == 0 || job->outputs == 0 || pixels == 0) return TT_OK;
    /* Four products for the time of one in float32, or one where each channel is by itself. */
    double products = (double)(images * job->outputs) * (double)pixels * (double)job->depth;
    int workers = tt_workers_for((job->depthwise ? 2.0 : 0.5) * products);
    job->offset_count = job->depthwise ? s->kernel_h * s->kernel_w : s->kernel_h;
    size_t offset_bytes = tt_round_up((job->offset_count + s->out_w) * sizeof(size_t), 64);
    int one_each = images >= 2 * (size_t)workers; /* an image for each worker, or all workers on one image */
    char *scratch = tt_scratch_acquire(offset_bytes + (one_each ? (size_t)workers : 1) * job->image_bytes);
    if (!scratch) return TT_OUT_OF_MEMORY;
    job->offsets = (size_t *)(void *)scratch;
    job->columns = job->offsets + job->offset_count;
    job->images = scratch + offset_bytes;
    size_t pixel_bytes = job->channels * job->element_bytes, row_taps = job->offset_count / s->kernel_h;
    for (size_t t = 0; t < job->offset_count; t++)
        job->offsets[t] = (t / row_taps * s->dilation_h * job->padded_columns + t % row_taps) * pixel_bytes;
    for (size_t x = 0; x < s->out_w; x++) job->columns[x] = position(job, x * s->stride_w) * pixel_bytes;

    if (one_each) {
        tt_parallel_for(workers, images, convolve_image, job);
    } else {
        for (job->index = 0; job->index < images; job->index++) {
            job->image = lay_out_image(job, job->index, 0);
            tt_parallel_for(workers, job->chunks * job->panels_each_group, convolve_piece, job);
        }
    }
    tt_scratch_release(scratch);
    return TT_OK;
}

tt_status tt_conv2d_int8(const tt_conv2d_shape *shape, const tt_conv2d_form *form, tt_quantized x,
                         const uint8_t *packed, const float *w_scale, const float *bias, tt_result result)
{
    tt_finish_int8 finish;
    tt_conv2d_shape one_group = *shape;
    one_group.groups = 1;
    int depthwise = is_depthwise(shape);
    conv_job job = {.shape = depthwise ? &one_group : shape, .depthwise = depthwise, .form = form,
                    .kernels = tt_kernels()->int8, .quantize = tt_kernels()->quantize, .x = x,
                    .panels = (const int8_t *)packed, .finish = &finish, .y = result.y,
                    .result_type = result.type};
    if (!lay_out(&job)) return TT_OUT_OF_MEMORY;
    int zero_point = x.zero_point + tt_shift_int8(job.a_type, x.is_signed);
    tt_status status = tt_begin_finish_int8(job.depth, job.outputs, job.shape->groups, x.scale, zero_point,
                                            packed, w_scale, bias, &result, &finish);
    if (status != TT_OK) return status;
    status = run(&job);
    tt_scratch_release(finish.scratch);
    return status;
}
