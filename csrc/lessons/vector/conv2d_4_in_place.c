/* Step 4: the matrix of windows is never stored. Its rows lie in the image already, only shifted.
 *
 * Each image is copied once, with its border of zeros, so that nothing is inside or outside any more. Then all
 * windows look alike: element `tap` of the window under a pixel lies offsets[tap] floats behind the pixel's own
 * corner, and one table of offsets serves them all. A vector of neighbouring pixels is a vector of neighbouring
 * floats in every row of the "matrix". (Dukhan, "The Indirect Convolution Algorithm", 2019.)
 *
 * With a stride, neighbours in y are `stride` columns apart in x. So the copy sorts each row by the remainder of
 * the column: with stride 2 the even columns, then the odd ones. The table absorbs that, too. */
#include "lessons/vector/vector.h"

/* Sums fill half of the registers: AVX-512 has 32, and AVX2 16 of them. */
enum { ROWS = VF_N == 16 ? 8 : 4, VECTORS = 2, PIXELS = VECTORS * VF_N };

typedef struct {
    const tt_conv2d_shape *shape;
    size_t height, width, part; /* of the image with its border; `part`: columns of one remainder */
    size_t row, taps;           /* floats in a row; what one window holds */
    float *image, *weights;     /* weights: (outputs / ROWS, taps, ROWS) */
    size_t *offsets;            /* (taps) */
} plan;

static plan plan_of(const tt_conv2d_shape *s)
{
    plan p = {.shape = s, .height = s->height + 2 * s->pad_h, .width = s->width + 2 * s->pad_w};
    p.part = tt_div_up(p.width, s->stride_w);
    p.row = p.part * s->stride_w;
    p.taps = s->channels * s->kernel_h * s->kernel_w;
    return p;
}

static void fill_offsets(const plan *p)
{
    const tt_conv2d_shape *s = p->shape;
    size_t *offset = p->offsets;
    for (size_t c = 0; c < s->channels; c++)
        for (size_t r = 0; r < s->kernel_h; r++)
            for (size_t q = 0; q < s->kernel_w; q++)
                *offset++ = (c * p->height + r) * p->row + q % s->stride_w * p->part + q / s->stride_w;
}

static void pack_weights(const plan *p, const float *w)
{
    for (size_t o = 0; o < tt_round_up(p->shape->outputs, ROWS); o++)
        for (size_t t = 0; t < p->taps; t++)
            p->weights[(o / ROWS * p->taps + t) * ROWS + o % ROWS] = o < p->shape->outputs ? w[o * p->taps + t] : 0.0f;
}

/* Copies an image behind its border, which is zero already. */
static void lay_out(const plan *p, const float *x)
{
    const tt_conv2d_shape *s = p->shape;
    for (size_t c = 0; c < s->channels; c++)
        for (size_t i = 0; i < s->height; i++) {
            float *row = p->image + (c * p->height + s->pad_h + i) * p->row;
            for (size_t j = s->pad_w; j < s->pad_w + s->width; j++)
                row[j % s->stride_w * p->part + j / s->stride_w] = *x++;
        }
}

/* ROWS outputs by PIXELS neighbouring pixels, of which `rows` by `pixels` exist. */
static void tile(const plan *p, const float *corner, const float *weights, size_t rows, size_t pixels, float *y)
{
    vf sum[ROWS][VECTORS];
    TT_UNROLL for (size_t i = 0; i < ROWS; i++)
        TT_UNROLL for (size_t v = 0; v < VECTORS; v++) sum[i][v] = vf_set(0.0f);
    for (size_t t = 0; t < p->taps; t++, weights += ROWS) {
        const float *x = corner + p->offsets[t];
        TT_UNROLL for (size_t i = 0; i < ROWS; i++)
            TT_UNROLL for (size_t v = 0; v < VECTORS; v++)
                sum[i][v] = vf_fma(vf_set(weights[i]), vf_load(x + v * VF_N), sum[i][v]);
    }
    size_t plane = p->shape->out_h * p->shape->out_w;
    TT_UNROLL for (size_t i = 0; i < ROWS; i++)
        TT_UNROLL for (size_t v = 0; v < VECTORS; v++)
            if (i < rows && v * VF_N < pixels)
                store(y + i * plane + v * VF_N, sum[i][v], tt_min(VF_N, pixels - v * VF_N));
}

static void convolve_image(const plan *p, const float *x, float *y)
{
    const tt_conv2d_shape *s = p->shape;
    lay_out(p, x);
    for (size_t i = 0; i < s->out_h; i++)
        for (size_t j = 0; j < s->out_w; j += PIXELS)
            for (size_t o = 0; o < s->outputs; o += ROWS)
                tile(p, p->image + i * s->stride_h * p->row + j, p->weights + o * p->taps, tt_min(ROWS, s->outputs - o),
                     tt_min(PIXELS, s->out_w - j), y + (o * s->out_h + i) * s->out_w + j);
}

tt_status TT_FOR_LEVEL(tt_conv2d_in_place)(const tt_conv2d_shape *s, const float *x, const float *w, float *y)
{
    plan p = plan_of(s);
    /* The last tile of the last row reads up to PIXELS floats beyond the image. */
    size_t image = s->channels * p.height * p.row + PIXELS, weights = tt_round_up(s->outputs, ROWS) * p.taps;
    p.offsets = tt_scratch_acquire(p.taps * sizeof *p.offsets + (image + weights) * sizeof *p.image);
    if (!p.offsets) return TT_OUT_OF_MEMORY;
    p.image = (float *)(p.offsets + p.taps);
    p.weights = p.image + image;
    memset(p.image, 0, image * sizeof *p.image);
    fill_offsets(&p);
    pack_weights(&p, w);
    for (size_t b = 0; b < s->batch; b++)
        convolve_image(&p, x + b * s->channels * s->height * s->width, y + b * s->outputs * s->out_h * s->out_w);
    tt_scratch_release(p.offsets);
    return TT_OK;
}
