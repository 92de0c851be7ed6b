/* The gradients of a convolution.
 *
 * dx: for a stride of 1 it is itself a convolution, of dy with the weights turned round; otherwise
 *     weights^T @ dy gives the gradient of the patches, which is added back onto the image (col2im).
 * dw: patches (taps, pixels) @ dy^T (pixels, outputs), summed over the images: the tile of the forward pass,
 *     with taps and pixels in each other's place. Where depthwise, dot products of dy with shifted images.
 * db: the sum of dy. */
#include "ops/conv.h"

#include <stdatomic.h>
#include <string.h>

enum {
    COLUMNS_KEPT = 128 << 10,   /* floats of the patches' gradient at a time: half of L2 */
    MOST_PARTIAL_SUMS = 16,      /* so many workers can share the images in dw */
    PARTIAL_SUMS_KEPT = 4 << 20, /* floats */
    TAP_STRIP = 96               /* taps that meet all pixels before the next: their sums stay in L1 */
};

/* ---- dx, stride 1 ---- */

static int is_convolution(const tt_conv2d_shape *shape)
{
    return shape->stride_h == 1 && shape->stride_w == 1 &&
           shape->pad_h <= shape->dilation_h * (shape->kernel_h - 1) &&
           shape->pad_w <= shape->dilation_w * (shape->kernel_w - 1);
}

/* In each group inputs and outputs change places, and the kernel is turned by 180 degrees. */
static void turn_weights(const tt_conv2d_shape *shape, const float *w, float *turned)
{
    size_t outputs = shape->outputs / shape->groups, inputs = shape->channels / shape->groups;
    size_t kernel = shape->kernel_h * shape->kernel_w, floats = outputs * inputs * kernel;
    if (kernel == 1) {
        for (size_t g = 0; g < shape->groups; g++)
            tt_kernels()->vector->conv->transpose(outputs, inputs, w + g * floats, inputs, turned + g * floats,
                                                  outputs, outputs);
        return;
    }
    for (size_t g = 0; g < shape->groups; g++)
        for (size_t i = 0; i < inputs; i++)
            for (size_t o = 0; o < outputs; o++) {
                const float *from = w + ((g * outputs + o) * inputs + i) * kernel;
                for (size_t t = kernel; t-- > 0;) *turned++ = from[t];
            }
}

static tt_status convolve_gradient(const tt_conv2d_shape *shape, const float *dy, const float *w, float *dx)
{
    tt_conv2d_shape reverse = *shape;
    reverse.channels = shape->outputs;
    reverse.outputs = shape->channels;
    reverse.height = shape->out_h;
    reverse.width = shape->out_w;
    reverse.out_h = shape->height;
    reverse.out_w = shape->width;
    reverse.pad_h = shape->dilation_h * (shape->kernel_h - 1) - shape->pad_h;
    reverse.pad_w = shape->dilation_w * (shape->kernel_w - 1) - shape->pad_w;
    size_t floats = shape->outputs * (shape->channels / shape->groups) * shape->kernel_h * shape->kernel_w;
    float *turned = tt_scratch_acquire(floats * sizeof(float));
    if (!turned) return TT_OUT_OF_MEMORY;
    turn_weights(shape, w, turned);
    tt_status status = tt_conv2d_f32(&reverse, dy, turned, NULL, NULL, TT_NONE, dx);
    tt_scratch_release(turned);
    return status;
}

/* ---- dx, any stride ---- */

typedef struct {
    tt_patches patches;
    const float *dy;
    float *dx;
    float *weights; /* transposed and packed */
    size_t group_weights;
    size_t block; /* pixels at a time */
    float *slices;
    size_t slice; /* of a worker: an image, then the gradient of its patches */
    atomic_int status;
} scatter_job;

/* image += columns (taps, block of pixels), each where its patch was taken from */
static void add_patches(const tt_patches *patches, const float *columns, size_t first, size_t count, float *image)
{
    const tt_vector_kernels *vector = tt_kernels()->vector;
    for (size_t t = 0; t < patches->taps; t++)
        for (size_t p = first; p < first + count;) {
            size_t n = tt_min(patches->run - p % patches->run, first + count - p);
            vector->add(image + patches->tap_offsets[t] + patches->pixel_offsets[p], columns + t * count + p - first,
                        n);
            p += n;
        }
}

static void scatter_group(scatter_job *job, const float *dy, size_t g, float *image, float *columns, float *dx)
{
    const tt_patches *patches = &job->patches;
    size_t outputs = patches->shape->outputs / patches->shape->groups;
    tt_operand a = {job->weights + g * job->group_weights, NULL, NULL};
    memset(image, 0, patches->image_floats * sizeof *image);
    for (size_t p = 0; p < patches->pixels; p += job->block) {
        size_t count = tt_min(job->block, patches->pixels - p);
        tt_matrix b = {dy + p, patches->pixels, 1};
        tt_output out = {.c = columns, .row_stride = count};
        tt_status status = tt_matmul_driver(patches->taps, count, outputs, a, tt_columns_of(&b), out);
        if (status != TT_OK) atomic_store(&job->status, status);
        else add_patches(patches, columns, p, count, image);
    }
    tt_patches_take_back(patches, image, dx);
}

static void scatter_image(void *context, size_t n, int worker)
{
    scatter_job *job = context;
    const tt_patches *patches = &job->patches;
    const tt_conv2d_shape *shape = patches->shape;
    size_t outputs = shape->outputs / shape->groups, plane = patches->channels * shape->height * shape->width;
    float *image = job->slices + (size_t)worker * job->slice, *columns = image + patches->image_floats;
    for (size_t g = 0; g < shape->groups; g++) {
        const float *dy = job->dy + (n * shape->outputs + g * outputs) * patches->pixels;
        scatter_group(job, dy, g, image, columns, job->dx + (n * shape->groups + g) * plane);
    }
}

static void pack_transposed(scatter_job *job, const float *w)
{
    const tt_conv2d_shape *shape = job->patches.shape;
    size_t taps = job->patches.taps, outputs = shape->outputs / shape->groups;
    for (size_t g = 0; g < shape->groups; g++) {
        tt_matrix rows = {w + g * outputs * taps, 1, taps};
        tt_pack_operand(outputs, taps, tt_kernels()->matmul->mr, tt_rows_of(&rows),
                        job->weights + g * job->group_weights);
    }
}

static tt_status scatter_gradient(const tt_conv2d_shape *shape, const float *dy, const float *w, float *dx)
{
    scatter_job job = {.dy = dy, .dx = dx};
    tt_status status = tt_patches_begin(&job.patches, shape, TT_BY_STRIDE);
    if (status != TT_OK) return status;
    size_t taps = job.patches.taps, pixels = job.patches.pixels;
    job.group_weights = tt_packed_floats(shape->outputs / shape->groups, taps, tt_kernels()->matmul->mr);
    job.block = tt_min(pixels, tt_max(64, COLUMNS_KEPT / tt_max(taps, 1)));
    job.slice = job.patches.image_floats + taps * job.block;
    int workers = tt_conv2d_workers(shape, shape->batch);
    size_t packed = shape->groups * job.group_weights;
    job.weights = tt_scratch_acquire((packed + (size_t)workers * job.slice) * sizeof(float));
    if (job.weights) {
        job.slices = job.weights + packed;
        pack_transposed(&job, w);
        tt_parallel_for(workers, shape->batch, scatter_image, &job);
        status = (tt_status)atomic_load(&job.status);
        tt_scratch_release(job.weights);
    } else {
        status = TT_OUT_OF_MEMORY;
    }
    tt_patches_end(&job.patches);
    return status;
}

/* ---- dw ---- */

/* The images are summed in a few portions, of a number that depends on the shapes alone, so that the result
 * does not depend on how many workers there are. */
typedef struct {
    tt_patches patches;
    const float *dy, *x;
    float *dw;
    int depthwise;
    size_t blocks, block_floats; /* of outputs in a group; (taps, nr) sums of one, or (taps) */
    size_t strips;               /* of taps */
    size_t portions, images_each, portion_floats;
    float *sums;                 /* (portions, groups, blocks, block_floats) */
    float *slices;               /* for each worker: an image, then its dy by pixels */
    size_t image_floats, slice;
    int workers;
} weight_job;

/* One image of a portion, for the tasks that share it. */
typedef struct {
    const weight_job *job;
    const float *dy, *x;
    float *laid_out, *dy_by_pixels, *sums;
    int first; /* of its portion */
} weight_image;

static size_t weight_nr(const weight_job *job)
{
    return job->depthwise ? 1 : tt_kernels()->vector->conv->tile->nr;
}

/* A group of the image gets its border; dy becomes (blocks, pixels, nr). */
static void prepare_group(void *context, size_t g, int worker)
{
    (void)worker;
    const weight_image *part = context;
    const weight_job *job = part->job;
    const tt_patches *patches = &job->patches;
    const tt_conv2d_shape *shape = patches->shape;
    size_t each = shape->outputs / shape->groups, nr = weight_nr(job), pixels = patches->pixels;
    tt_patches_lay_out(patches, part->x + g * patches->channels * shape->height * shape->width,
                       part->laid_out + g * patches->image_floats);
    if (job->depthwise) return;
    float *by_pixels = part->dy_by_pixels + g * job->blocks * pixels * nr;
    for (size_t o = 0; o < each; o += nr, by_pixels += pixels * nr)
        tt_kernels()->vector->conv->transpose(tt_min(nr, each - o), pixels, part->dy + (g * each + o) * pixels,
                                              pixels, by_pixels, nr, nr);
}

static void correlate_weights(const weight_image *part, size_t output)
{
    const tt_patches *patches = &part->job->patches;
    size_t rows = patches->pixels / patches->run;
    size_t row_stride = rows > 1 ? patches->pixel_offsets[patches->run] : 0;
    float *sums = part->sums + output * patches->taps;
    if (part->first) memset(sums, 0, patches->taps * sizeof *sums);
    tt_kernels()->vector->conv->correlate_backward(part->dy + output * patches->pixels, rows, patches->run,
                                                   part->laid_out + output * patches->image_floats, row_stride,
                                                   patches->tap_offsets, patches->taps, sums);
}

/* Adds what one image gives to a strip of taps of a block of outputs. */
static void sum_strip(void *context, size_t index, int worker)
{
    (void)worker;
    const weight_image *part = context;
    const weight_job *job = part->job;
    const tt_patches *patches = &job->patches;
    const tt_conv_tile *tile = tt_kernels()->vector->conv->tile;
    if (job->depthwise) {
        correlate_weights(part, index);
        return;
    }
    static const float zeros[TT_CONV_WIDEST];
    size_t pixels = patches->pixels, nr = tile->nr, each = patches->shape->outputs / patches->shape->groups;
    size_t tap = index % job->strips * TAP_STRIP, block = index / job->strips, g = block / job->blocks;
    const float *image = part->laid_out + g * patches->image_floats;
    const float *dy = part->dy_by_pixels + block * pixels * nr;
    size_t n = tt_min(nr, each - block % job->blocks * nr);
    for (size_t p = 0; p < pixels; p += tile->depth)
        tile->multiply(tt_min(TAP_STRIP, patches->taps - tap), n, tt_min(tile->depth, pixels - p), image,
                       patches->pixel_offsets + p, patches->tap_offsets + tap, dy + p * nr,
                       part->first && p == 0 ? zeros : NULL, part->sums + block * job->block_floats + tap * nr);
}

static void sum_portion(void *context, size_t portion, int worker)
{
    const weight_job *job = context;
    const tt_conv2d_shape *shape = job->patches.shape;
    float *laid_out = job->slices + (size_t)worker * job->slice;
    size_t first = portion * job->images_each, end = tt_min(first + job->images_each, shape->batch);
    for (size_t n = first; n < end; n++) {
        weight_image part = {.job = job,
                             .dy = job->dy + n * shape->outputs * job->patches.pixels,
                             .x = job->x + n * shape->channels * shape->height * shape->width,
                             .laid_out = laid_out,
                             .dy_by_pixels = laid_out + job->image_floats,
                             .sums = job->sums + portion * job->portion_floats,
                             .first = n == first};
        tt_parallel_for(job->workers, shape->groups, prepare_group, &part);
        tt_parallel_for(job->workers, shape->groups * job->blocks * job->strips, sum_strip, &part);
    }
}

/* Adds the portions in order, and brings a block (taps, nr) to the order of dw. */
static void reduce_block(void *context, size_t block, int worker)
{
    (void)worker;
    const weight_job *job = context;
    const tt_conv2d_shape *shape = job->patches.shape;
    const tt_vector_kernels *vector = tt_kernels()->vector;
    size_t taps = job->patches.taps, each = shape->outputs / shape->groups, nr = weight_nr(job);
    size_t first = block % job->blocks * nr, output = block / job->blocks * each + first;
    float *total = job->sums + block * job->block_floats;
    for (size_t portion = 1; portion < job->portions; portion++)
        vector->add(total, total + portion * job->portion_floats, job->block_floats);
    if (job->depthwise) memcpy(job->dw + output * taps, total, taps * sizeof *total);
    else
        vector->conv->transpose(taps, tt_min(nr, each - first), total, nr, job->dw + output * taps, taps, taps);
}

static tt_status sum_images(weight_job *job)
{
    const tt_conv2d_shape *shape = job->patches.shape;
    size_t taps = job->patches.taps, nr = weight_nr(job);
    job->blocks = tt_div_up(shape->outputs / shape->groups, nr);
    job->strips = job->depthwise ? 1 : tt_div_up(taps, TAP_STRIP);
    job->block_floats = taps * nr;
    size_t blocks = shape->groups * job->blocks;
    job->portion_floats = blocks * job->block_floats;
    size_t most = tt_max(1, tt_min(MOST_PARTIAL_SUMS, PARTIAL_SUMS_KEPT / job->portion_floats));
    job->images_each = tt_div_up(shape->batch, tt_min(shape->batch, most));
    job->portions = tt_div_up(shape->batch, job->images_each);
    job->workers = tt_workers_for(tt_conv2d_operations(shape));
    int portion_workers = tt_conv2d_workers(shape, job->portions);
    job->image_floats = tt_round_up(shape->groups * job->patches.image_floats, 16);
    job->slice = job->image_floats + (job->depthwise ? 0 : tt_round_up(blocks * nr * job->patches.pixels, 16));
    size_t sums = tt_round_up(job->portions * job->portion_floats, 16);
    job->sums = tt_scratch_acquire((sums + (size_t)portion_workers * job->slice) * sizeof(float));
    if (!job->sums) return TT_OUT_OF_MEMORY;
    job->slices = job->sums + sums;
    tt_parallel_for(portion_workers, job->portions, sum_portion, job);
    tt_parallel_for(tt_workers_for((double)(job->portions * job->portion_floats)), blocks, reduce_block, job);
    tt_scratch_release(job->sums);
    return TT_OK;
}

static tt_status weight_gradient(const tt_conv2d_shape *shape, const float *dy, const float *x, float *dw)
{
    weight_job job = {.dy = dy, .x = x, .dw = dw, .depthwise = shape->outputs == shape->groups};
    tt_status status = tt_patches_begin(&job.patches, shape, job.depthwise ? TT_BY_STRIDE : TT_IN_ORDER);
    if (status != TT_OK) return status;
    size_t floats = shape->outputs * job.patches.taps;
    if (floats && shape->batch == 0) memset(dw, 0, floats * sizeof *dw);
    else if (floats) status = sum_images(&job);
    tt_patches_end(&job.patches);
    return status;
}

/* ---- db, and all of it ---- */

typedef struct {
    const tt_conv2d_shape *shape;
    const float *dy;
    float *db;
} bias_job;

static void sum_output(void *context, size_t o, int worker)
{
    (void)worker;
    const bias_job *job = context;
    size_t pixels = job->shape->out_h * job->shape->out_w;
    double total = 0;
    for (size_t n = 0; n < job->shape->batch; n++)
        total += tt_kernels()->vector->sum(job->dy + (n * job->shape->outputs + o) * pixels, pixels);
    job->db[o] = (float)total;
}

tt_status tt_conv2d_backward_f32(const tt_conv2d_shape *shape, const float *dy, const float *x, const float *w,
                                 float *dx, float *dw, float *db)
{
    tt_status status = TT_OK;
    if (dx) status = is_convolution(shape) ? convolve_gradient(shape, dy, w, dx) : scatter_gradient(shape, dy, w, dx);
    if (dw && status == TT_OK) status = weight_gradient(shape, dy, x, dw);
    if (db && status == TT_OK) {
        bias_job job = {shape, dy, db};
        double elements = (double)shape->batch * (double)shape->outputs * (double)(shape->out_h * shape->out_w);
        tt_parallel_for(tt_workers_for(elements), shape->outputs, sum_output, &job);
    }
    return status;
}
