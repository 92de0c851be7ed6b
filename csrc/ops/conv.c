/* Convolution forward: for each image and group, weights (outputs, taps) @ patches (taps, pixels).
 *
 * No patch exists: the tile reads each pixel in the image, by two tables of offsets (ops/patches.h). It leaves
 * the outputs of a pixel side by side, which is turned to y's order while it is in the cache.
 *
 * A group with few outputs (one where depthwise, three for the gradient of an RGB image) would leave most
 * lanes of the tile empty. There neighbouring pixels are lanes: a band of rows of each output is summed over
 * a few channels at a time. */
#include "ops/conv.h"

#include <stdatomic.h>
#include <string.h>

/* A strip of at most so many pixels meets all taps before the next, so that its sums and what it reads of the
 * image stay in L2 beside the weights, while these are fetched rarely enough from L3. */
enum { STRIP = 240, WHOLE_TILES = 24 /* a multiple of every tile's pixels */ };

/* For few outputs: so many floats of the image at a time, which stay in L2 beside the sums made of them. */
enum { BAND = 16 << 10 };

static const tt_conv_tile *the_tile(void) { return tt_kernels()->vector->conv->tile; }

/* ---- weights, packed: for each group and block of nr outputs, (taps, nr) ---- */

/* At most a quarter of the tile's lanes: on AVX2 and AVX-512 half a vector. */
static int has_few(size_t outputs, size_t groups) { return outputs / groups <= the_tile()->nr / 4; }

static size_t packed_group_floats(size_t outputs, size_t taps, size_t groups)
{
    if (has_few(outputs, groups)) return outputs / groups * taps;
    return tt_packed_floats(taps, outputs / groups, the_tile()->nr);
}

size_t tt_conv2d_packed_size_f32(size_t outputs, size_t taps, size_t groups)
{
    return groups * packed_group_floats(outputs, taps, groups);
}

void tt_conv2d_pack_f32(size_t outputs, size_t taps, size_t groups, const float *w, float *packed)
{
    size_t each = outputs / groups, nr = the_tile()->nr;
    if (has_few(outputs, groups)) {
        memcpy(packed, w, outputs * taps * sizeof *w);
        return;
    }
    for (size_t g = 0; g < groups; g++)
        for (size_t o = 0; o < each; o += nr, packed += taps * nr)
            tt_kernels()->vector->conv->transpose(tt_min(nr, each - o), taps, w + (g * each + o) * taps, taps,
                                                  packed, nr, nr);
}

void tt_conv2d_unpack_f32(size_t outputs, size_t taps, size_t groups, const float *packed, float *w)
{
    size_t each = outputs / groups, nr = the_tile()->nr;
    if (has_few(outputs, groups)) {
        memcpy(w, packed, outputs * taps * sizeof *w);
        return;
    }
    for (size_t g = 0; g < groups; g++)
        for (size_t o = 0; o < each; o += nr, packed += taps * nr)
            for (size_t i = 0; i < tt_min(nr, each - o); i++)
                for (size_t t = 0; t < taps; t++) w[(g * each + o + i) * taps + t] = packed[t * nr + i];
}

/* ---- forward ---- */

typedef struct {
    tt_patches patches;
    const float *x, *weights, *bias;
    tt_activation activation;
    float *y;
    size_t group_weights, blocks, strips, strip_pixels;
    size_t image_floats, sums; /* of all groups with their borders, of a strip */
    float *images;             /* (workers at images, image_floats) */
    float *strip_sums;         /* (workers, sums) */
    int workers;
} conv_job;

/* An image with its border, for the tasks that compute parts of its result. */
typedef struct {
    const conv_job *job;
    const float *x, *image;
    float *laid_out, *y;
    int worker; /* of the images; the tasks below have workers of their own unless they run in this one */
} image_job;

static void lay_out_group(void *context, size_t g, int worker)
{
    (void)worker;
    const image_job *part = context;
    const tt_patches *patches = &part->job->patches;
    size_t plane = patches->channels * patches->shape->height * patches->shape->width;
    tt_patches_lay_out(patches, part->x + g * plane, part->laid_out + g * patches->image_floats);
}

/* sums (count, nr): the first block of taps starts at the bias, the others add. */
static void sum_taps(const conv_job *job, const float *image, const size_t *pixels, size_t count, const float *w,
                     const float *bias, size_t n, float *sums)
{
    const tt_conv_tile *tile = the_tile();
    const tt_patches *patches = &job->patches;
    float start[TT_CONV_WIDEST] = {0};
    if (bias) memcpy(start, bias, n * sizeof *bias);
    size_t each = tt_div_up(patches->taps, tt_div_up(tt_max(patches->taps, 1), tile->depth)), t = 0;
    do { /* at least once: a sum of no taps is the bias */
        size_t depth = tt_min(each, patches->taps - t);
        tile->multiply(count, n, depth, image, patches->tap_offsets + t, pixels, w + t * tile->nr,
                       t ? NULL : start, sums);
        t += depth;
    } while (t < patches->taps);
}

/* A strip of pixels of a block of outputs. */
static void convolve_strip(void *context, size_t index, int worker)
{
    const image_job *part = context;
    const conv_job *job = part->job;
    const tt_patches *patches = &job->patches;
    const tt_vector_kernels *vector = tt_kernels()->vector;
    size_t each = patches->shape->outputs / patches->shape->groups, nr = vector->conv->tile->nr;
    size_t strip = index % job->strips, block = index / job->strips % job->blocks;
    size_t g = index / job->strips / job->blocks;
    size_t first = strip * job->strip_pixels, count = tt_min(job->strip_pixels, patches->pixels - first);
    size_t output = g * each + block * nr, n = tt_min(nr, each - block * nr);
    const float *w = job->weights + g * job->group_weights + block * nr * patches->taps;
    float *sums = job->strip_sums + (size_t)(part->worker + worker) * job->sums;
    float *y = part->y + output * patches->pixels + first;
    sum_taps(job, part->image + g * patches->image_floats, patches->pixel_offsets + first, count, w,
             job->bias ? job->bias + output : NULL, n, sums);
    vector->conv->transpose(count, n, sums, nr, y, patches->pixels, count);
    if (job->activation) vector->bias_activation(y, patches->pixels, n, count, NULL, NULL, job->activation);
}

static void convolve_image(void *context, size_t n, int worker)
{
    const conv_job *job = context;
    const tt_conv2d_shape *shape = job->patches.shape;
    const float *x = job->x + n * shape->channels * shape->height * shape->width;
    image_job part = {job, x, x, job->images + (size_t)worker * job->image_floats,
                      job->y + n * shape->outputs * job->patches.pixels, worker};
    if (!job->patches.as_it_is) {
        tt_parallel_for(job->workers, shape->groups, lay_out_group, &part);
        part.image = part.laid_out;
    }
    tt_parallel_for(job->workers, shape->groups * job->blocks * job->strips, convolve_strip, &part);
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
    size_t nr = the_tile()->nr;
    job->workers = tt_workers_for(tt_conv2d_operations(shape));
    job->blocks = tt_div_up(shape->outputs / shape->groups, nr);
    size_t pixels = job->patches.pixels;
    job->strip_pixels = tt_round_up(tt_div_up(pixels, tt_div_up(pixels, STRIP)), WHOLE_TILES);
    job->strips = tt_div_up(pixels, job->strip_pixels);
    job->image_floats = job->patches.as_it_is ? 0 : tt_round_up(shape->groups * job->patches.image_floats, 16);
    job->sums = job->strip_pixels * nr;
    size_t images = (size_t)image_workers * job->image_floats;
    job->images = tt_scratch_acquire((images + (size_t)job->workers * job->sums) * sizeof(float));
    if (!job->images) return TT_OUT_OF_MEMORY;
    job->strip_sums = job->images + images;
    tt_parallel_for(image_workers, shape->batch, convolve_image, job);
    tt_scratch_release(job->images);
    return TT_OK;
}

/* ---- forward, few outputs in a group ---- */

typedef struct {
    const conv_job *conv;
    size_t bands, band_rows, channels_each;
    size_t image_floats, sums; /* of a worker's slice: some channels with their borders, a band of results */
    float *slices;
} band_job;

/* Some channels of a band: `image` is where its first window stands. */
typedef struct {
    const float *image;
    size_t first_channel, channels, rows;
} band_part;

/* y, a band of one output, = the bias + what the first channels give, then += what others give. */
static void correlate_part(const conv_job *conv, const band_part *part, size_t output, float *sums, float *y)
{
    const tt_patches *patches = &conv->patches;
    const tt_conv2d_shape *shape = patches->shape;
    const tt_vector_kernels *vector = tt_kernels()->vector;
    size_t kernel = shape->kernel_h * shape->kernel_w, floats = part->rows * shape->out_w;
    int is_first = part->first_channel == 0;
    vector->conv->correlate(part->image, shape->stride_h * patches->columns, patches->tap_offsets,
                            conv->weights + output * patches->taps + part->first_channel * kernel,
                            part->channels * kernel, is_first && conv->bias ? conv->bias[output] : 0.0f,
                            part->rows, shape->out_w, is_first ? y : sums);
    if (!is_first) vector->add(y, sums, floats);
    if (conv->activation && part->first_channel + part->channels == patches->channels)
        vector->bias_activation(y, floats, 1, floats, NULL, NULL, conv->activation);
}

/* A band of rows of all outputs of one group of one image. */
static void correlate_band(void *context, size_t index, int worker)
{
    const band_job *job = context;
    const conv_job *conv = job->conv;
    const tt_patches *patches = &conv->patches;
    const tt_conv2d_shape *shape = patches->shape;
    size_t group = index / job->bands, first = index % job->bands * job->band_rows; /* of all images */
    size_t each = shape->outputs / shape->groups, rows = tt_min(job->band_rows, shape->out_h - first);
    size_t top = first * shape->stride_h;
    size_t image_rows = (rows - 1) * shape->stride_h + (shape->kernel_h - 1) * shape->dilation_h + 1;
    float *laid_out = job->slices + (size_t)worker * (job->image_floats + job->sums);
    size_t c = 0;
    do { /* at least once: a sum of no channels is the bias */
        const float *x = conv->x + (group * patches->channels + c) * shape->height * shape->width;
        size_t channels = tt_min(job->channels_each, patches->channels - c);
        if (!patches->as_it_is) tt_patches_lay_out_rows(patches, channels, top, image_rows, x, laid_out);
        band_part part = {(patches->as_it_is ? x : laid_out) + top * patches->columns, c, channels, rows};
        for (size_t o = 0; o < each; o++)
            correlate_part(conv, &part, group % shape->groups * each + o, laid_out + job->image_floats,
                           conv->y + (group * each + o) * patches->pixels + first * shape->out_w);
        c += channels;
    } while (c < patches->channels);
}

static tt_status correlate(const conv_job *conv)
{
    const tt_patches *patches = &conv->patches;
    const tt_conv2d_shape *shape = patches->shape;
    int workers = tt_workers_for(tt_conv2d_operations(shape));
    size_t plane = tt_max(1, patches->rows * patches->columns);
    band_job job = {.conv = conv};
    job.band_rows = tt_max(1, tt_min(shape->out_h, BAND / shape->stride_h / tt_max(1, patches->columns)));
    job.bands = tt_div_up(shape->out_h, job.band_rows);
    job.channels_each = tt_max(1, BAND / plane);
    job.image_floats = patches->as_it_is ? 0 : tt_min(job.channels_each, patches->channels) * plane;
    job.image_floats = tt_round_up(job.image_floats, 16);
    job.sums = tt_round_up(job.band_rows * shape->out_w, 16);
    job.slices = tt_scratch_acquire((size_t)workers * (job.image_floats + job.sums) * sizeof(float));
    if (!job.slices) return TT_OUT_OF_MEMORY;
    tt_parallel_for(workers, shape->batch * shape->groups * job.bands, correlate_band, &job);
    tt_scratch_release(job.slices);
    return TT_OK;
}

tt_status tt_conv2d_f32(const tt_conv2d_shape *shape, const float *x, const float *w, const float *packed,
                        const float *bias, tt_activation activation, float *y)
{
    conv_job job = {.x = x, .weights = packed, .bias = bias, .activation = activation, .y = y};
    if (shape->batch == 0 || shape->outputs == 0) return TT_OK;
    int few = has_few(shape->outputs, shape->groups);
    tt_status status = tt_patches_begin(&job.patches, shape, few ? TT_BY_STRIDE : TT_IN_ORDER);
    if (status != TT_OK) return status;
    size_t taps = job.patches.taps;
    job.group_weights = packed_group_floats(shape->outputs, taps, shape->groups);
    float *scratch = NULL;
    if (!packed) {
        scratch = tt_scratch_acquire(shape->groups * job.group_weights * sizeof(float));
        if (scratch) tt_conv2d_pack_f32(shape->outputs, taps, shape->groups, w, scratch);
        job.weights = scratch;
    }
    if (!job.weights) status = TT_OUT_OF_MEMORY;
    else status = few ? correlate(&job) : convolve(&job);
    tt_scratch_release(scratch);
    tt_patches_end(&job.patches);
    return status;
}
