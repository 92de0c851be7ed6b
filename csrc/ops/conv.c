/* Convolution forward: for each image and group, weights (outputs, taps) @ patches (taps, pixels).
 *
 * The patches exist only as the panels that the matmul driver packs (ops/patches.h). A group with one output
 * (a depthwise convolution) has nothing to multiply but vectors: it reads the image directly. */
#include "ops/conv.h"

#include <stdatomic.h>
#include <string.h>

/* ---- weights, packed ---- */

static int is_direct(size_t outputs, size_t groups) { return outputs == groups; }

static size_t packed_group_floats(size_t outputs, size_t taps, size_t groups)
{
    if (is_direct(outputs, groups)) return taps;
    return tt_packed_floats(taps, outputs / groups, tt_kernels()->matmul->mr);
}

size_t tt_conv2d_packed_size_f32(size_t outputs, size_t taps, size_t groups)
{
    return groups * packed_group_floats(outputs, taps, groups);
}

void tt_conv2d_pack_f32(size_t outputs, size_t taps, size_t groups, const float *w, float *packed)
{
    size_t each = outputs / groups, mr = tt_kernels()->matmul->mr;
    if (is_direct(outputs, groups)) {
        memcpy(packed, w, outputs * taps * sizeof *w);
        return;
    }
    for (size_t g = 0; g < groups; g++) {
        tt_matrix rows = {w + g * each * taps, taps, 1};
        tt_pack_operand(taps, each, mr, tt_rows_of(&rows), packed + g * packed_group_floats(outputs, taps, groups));
    }
}

void tt_conv2d_unpack_f32(size_t outputs, size_t taps, size_t groups, const float *packed, float *w)
{
    const tt_matmul_kernels *kernels = tt_kernels()->matmul;
    size_t each = outputs / groups, mr = kernels->mr, padded = tt_round_up(each, mr);
    if (is_direct(outputs, groups)) {
        memcpy(w, packed, outputs * taps * sizeof *w);
        return;
    }
    for (size_t g = 0; g < groups; g++, packed += taps * padded)
        for (size_t p = 0; p < taps; p += kernels->kc) {
            size_t kc = tt_min(kernels->kc, taps - p);
            for (size_t i = 0; i < each; i++)
                for (size_t d = 0; d < kc; d++)
                    w[(g * each + i) * taps + p + d] = packed[p * padded + i / mr * mr * kc + d * mr + i % mr];
        }
}

/* ---- forward ---- */

typedef struct {
    tt_patches patches;
    const float *x, *weights, *bias;
    tt_activation activation;
    float *y;
    float *images; /* an image with its border for each worker */
    size_t group_weights;
    int workers;
    atomic_int status;
} conv_job;

typedef struct {
    conv_job *job;
    const float *image;
    float *y;
} direct_job;

static void correlate_output(void *context, size_t output, int worker)
{
    (void)worker;
    const direct_job *direct = context;
    const conv_job *job = direct->job;
    const tt_patches *patches = &job->patches;
    const tt_vector_kernels *vector = tt_kernels()->vector;
    const float *image = direct->image + output * patches->image_floats;
    float *y = direct->y + output * patches->pixels;
    for (size_t p = 0; p < patches->pixels; p += patches->run)
        vector->conv->correlate(image + patches->pixel_offsets[p], patches->tap_offsets,
                                job->weights + output * job->group_weights, patches->taps, patches->run, y + p);
    if (job->bias || job->activation)
        vector->bias_activation(y, patches->pixels, 1, patches->pixels, job->bias ? job->bias + output : NULL, NULL,
                                job->activation);
}

static void multiply_group(conv_job *job, const float *image, size_t g, float *y)
{
    const tt_patches *patches = &job->patches;
    size_t each = patches->shape->outputs / patches->shape->groups;
    tt_patch_operand source = {image + g * patches->image_floats, patches->tap_offsets, patches->pixel_offsets};
    tt_operand a = {job->weights + g * job->group_weights, NULL, NULL};
    tt_output out = {.c = y + g * each * patches->pixels,
                     .row_stride = patches->pixels,
                     .row_bias = job->bias ? job->bias + g * each : NULL,
                     .activation = job->activation};
    tt_status status =
        tt_matmul_driver(each, patches->pixels, patches->taps, a, tt_columns_of_patches(&source), out);
    if (status != TT_OK) atomic_store(&job->status, status);
}

static void convolve_image(void *context, size_t n, int worker)
{
    conv_job *job = context;
    const tt_conv2d_shape *shape = job->patches.shape;
    const float *x = job->x + n * shape->channels * shape->height * shape->width;
    float *y = job->y + n * shape->outputs * job->patches.pixels;
    size_t group_plane = job->patches.channels * shape->height * shape->width;
    const float *image = x;
    if (!job->patches.as_it_is) {
        float *laid_out = job->images + (size_t)worker * shape->groups * job->patches.image_floats;
        for (size_t g = 0; g < shape->groups; g++)
            tt_patches_lay_out(&job->patches, x + g * group_plane, laid_out + g * job->patches.image_floats);
        image = laid_out;
    }
    if (is_direct(shape->outputs, shape->groups)) {
        direct_job direct = {job, image, y};
        tt_parallel_for(job->workers, shape->outputs, correlate_output, &direct);
    } else {
        for (size_t g = 0; g < shape->groups; g++) multiply_group(job, image, g, y);
    }
}

double tt_conv2d_operations(const tt_conv2d_shape *shape)
{
    return 2.0 * (double)shape->batch * (double)shape->outputs * (double)(shape->out_h * shape->out_w) *
           (double)(shape->channels / shape->groups) * (double)(shape->kernel_h * shape->kernel_w);
}

int tt_conv2d_workers(const tt_conv2d_shape *shape, size_t tasks)
{
    int workers = tt_workers_for(tt_conv2d_operations(shape));
    return tasks >= (size_t)workers ? workers : 1;
}

/* An image for each worker where there are enough; else one after the other, with all workers on each. */
static tt_status convolve(conv_job *job)
{
    const tt_conv2d_shape *shape = job->patches.shape;
    int image_workers = tt_conv2d_workers(shape, shape->batch);
    job->workers = tt_workers_for(tt_conv2d_operations(shape));
    size_t floats = job->patches.as_it_is ? 0 : shape->groups * job->patches.image_floats;
    job->images = tt_scratch_acquire((size_t)image_workers * floats * sizeof(float));
    if (!job->images) return TT_OUT_OF_MEMORY;
    tt_parallel_for(image_workers, shape->batch, convolve_image, job);
    tt_scratch_release(job->images);
    return (tt_status)atomic_load(&job->status);
}

tt_status tt_conv2d_f32(const tt_conv2d_shape *shape, const float *x, const float *w, const float *packed,
                        const float *bias, tt_activation activation, float *y)
{
    conv_job job = {.x = x, .weights = packed, .bias = bias, .activation = activation, .y = y};
    if (shape->batch == 0 || shape->outputs == 0) return TT_OK;
    tt_status status = tt_patches_begin(&job.patches, shape, TT_PLANAR);
    if (status != TT_OK) return status;
    size_t taps = job.patches.taps;
    job.group_weights = packed_group_floats(shape->outputs, taps, shape->groups);
    float *scratch = NULL;
    if (!packed) {
        scratch = tt_scratch_acquire(shape->groups * job.group_weights * sizeof(float));
        if (scratch) tt_conv2d_pack_f32(shape->outputs, taps, shape->groups, w, scratch);
        job.weights = scratch;
    }
    status = job.weights ? convolve(&job) : TT_OUT_OF_MEMORY;
    tt_scratch_release(scratch);
    tt_patches_end(&job.patches);
    return status;
}
