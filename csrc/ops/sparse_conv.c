/* Convolution with sparse weights: for each image, w (outputs, taps) @ patches (taps, pixels), a panel of pixels
 * at a time. A panel holds what every tap meets, and stays in the cache while all of w passes by. */
#include "ops/patches.h"

enum { PANEL = 64 /* pixels: four AVX-512 vectors */ };

typedef struct {
    const tt_microkernels *kernels;
    const tt_sparse_matrix *w;
    tt_patches patches;
    const float *x, *bias;
    tt_activation activation;
    float *y;
    float *scratch; /* for each worker: an image with its border, then a panel */
    size_t worker_floats;
} sparse_conv_job;

static void convolve_panel(const sparse_conv_job *job, const float *image, size_t pixel, float *panel, float *y)
{
    const tt_sparse_matrix *w = job->w;
    const tt_patches *patches = &job->patches;
    size_t n = tt_min(PANEL, patches->pixels - pixel), each = patches->pixels;
    tt_patch_operand source = {image, patches->tap_offsets, patches->pixel_offsets};
    tt_operand columns = tt_columns_of_patches(&source);
    columns.fill(columns.source, 0, w->k, pixel, n, PANEL, panel);
    tt_block_rows rows = {.r = w->r, .m = w->m, .values = w->values, .indices = w->indices,
                          .wide = w->wide_indices, .first = w->row_pointers, .last = w->row_pointers + 1};
    job->kernels->sparse->multiply(&rows, panel, PANEL, n, NULL, 0, y + pixel, each);
    if (job->bias || job->activation)
        job->kernels->vector->bias_activation(y + pixel, each, w->m, n, job->bias, NULL, job->activation);
}

static void convolve_image(void *context, size_t n, int worker)
{
    const sparse_conv_job *job = context;
    const tt_conv2d_shape *shape = job->patches.shape;
    const float *image = job->x + n * shape->channels * shape->height * shape->width;
    float *laid_out = job->scratch + (size_t)worker * job->worker_floats;
    float *panel = laid_out + tt_round_up(job->patches.image_floats, 16);
    float *y = job->y + n * shape->outputs * job->patches.pixels;
    if (!job->patches.as_it_is) {
        tt_patches_lay_out(&job->patches, image, laid_out);
        image = laid_out;
    }
    for (size_t pixel = 0; pixel < job->patches.pixels; pixel += PANEL)
        convolve_panel(job, image, pixel, panel, y);
}

tt_status tt_sparse_conv2d_f32(const tt_sparse_matrix *w, const tt_conv2d_shape *shape, const float *x,
                               const float *bias, tt_activation activation, float *y)
{
    if (shape->batch == 0 || shape->outputs == 0) return TT_OK;
    sparse_conv_job job = {.kernels = tt_kernels(), .w = w, .x = x, .bias = bias, .activation = activation, .y = y};
    tt_status status = tt_patches_begin(&job.patches, shape, TT_PLANAR);
    if (status != TT_OK) return status;
    double products = (double)w->row_pointers[tt_div_up(w->m, w->r)] * (double)w->r;
    int workers = tt_workers_for(2.0 * products * (double)job.patches.pixels * (double)shape->batch);
    job.worker_floats = tt_round_up(job.patches.image_floats, 16) + w->k * PANEL;
    job.scratch = tt_scratch_acquire((size_t)workers * job.worker_floats * sizeof(float));
    if (job.scratch)
        tt_parallel_for(workers, shape->batch, convolve_image, &job);
    else
        status = TT_OUT_OF_MEMORY;
    tt_scratch_release(job.scratch);
    tt_patches_end(&job.patches);
    return status;
}
