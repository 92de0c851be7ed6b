/* Convolution with sparse weights: for each image, w (outputs, taps) @ patches (taps, pixels), a panel of pixels
 * at a time. A panel holds what every tap meets, and stays in the cache while all of w passes by. */
#include "ops/patches.h"
#include "ops/sparse.h"

enum { PANEL = TT_SPARSE_PANEL };

typedef struct {
    const tt_vector_kernels *vector;
    tt_sparse_product product;
    tt_patches patches;
    const float *x, *bias;
    tt_activation activation;
    float *y;
    float *scratch; /* for each worker: an image with its border, a panel, sums */
    size_t image_floats, panel_floats, worker_floats;
} sparse_conv_job;

static void load_patches(const void *source, size_t k, size_t kc, size_t pixel, size_t n, size_t stride, float *panel)
{
    tt_operand columns = tt_columns_of_patches(source);
    columns.fill(columns.source, k, kc, pixel, n, stride, panel);
}

static void convolve_image(void *context, size_t n, int worker)
{
    const sparse_conv_job *job = context;
    const tt_conv2d_shape *shape = job->patches.shape;
    const float *image = job->x + n * shape->channels * shape->height * shape->width;
    float *laid_out = job->scratch + (size_t)worker * job->worker_floats;
    float *panel = laid_out + job->image_floats, *sums = panel + job->panel_floats;
    size_t m = shape->outputs, pixels = job->patches.pixels;
    float *y = job->y + n * m * pixels;
    if (!job->patches.as_it_is) {
        tt_patches_lay_out(&job->patches, image, laid_out);
        image = laid_out;
    }
    tt_patch_operand patches = {image, job->patches.tap_offsets, job->patches.pixel_offsets};
    tt_sparse_product product = job->product;
    product.x = &patches;
    for (size_t pixel = 0; pixel < pixels; pixel += PANEL) {
        size_t count = tt_min(PANEL, pixels - pixel);
        tt_sparse_multiply_panel(&product, 0, m, pixel, count, panel, sums, y + pixel, pixels);
        if (job->bias || job->activation)
            job->vector->bias_activation(y + pixel, pixels, m, count, job->bias, NULL, job->activation);
    }
}

tt_status tt_sparse_conv2d_f32(const tt_sparse_matrix *w, const tt_conv2d_shape *shape, const float *x,
                               const float *bias, tt_activation activation, float *y)
{
    if (shape->batch == 0 || shape->outputs == 0) return TT_OK;
    sparse_conv_job job = {.vector = tt_kernels()->vector, .product = tt_sparse_product_of(w), .x = x, .bias = bias,
                           .activation = activation, .y = y};
    job.product.load = load_patches;
    tt_status status = tt_patches_begin(&job.patches, shape, TT_BY_STRIDE);
    if (status != TT_OK) return status;
    int workers = tt_workers_for(2.0 * tt_sparse_elements(w) * (double)job.patches.pixels * (double)shape->batch);
    job.image_floats = tt_round_up(job.patches.image_floats, 16);
    job.panel_floats = tt_sparse_panel_floats(&job.product);
    job.worker_floats = job.image_floats + job.panel_floats + (w->r == 1 ? w->m * PANEL : 0);
    job.scratch = tt_scratch_acquire((size_t)workers * job.worker_floats * sizeof(float));
    if (job.scratch)
        tt_parallel_for(workers, shape->batch, convolve_image, &job);
    else
        status = TT_OUT_OF_MEMORY;
    tt_scratch_release(job.scratch);
    tt_patches_end(&job.patches);
    return status;
}
