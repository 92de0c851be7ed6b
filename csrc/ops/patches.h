/* The matrix that turns a convolution into a matmul: element (tap, pixel) is what kernel tap `tap` meets when
 * the window stands at output pixel `pixel`. It is never stored. The image is laid out once with its border of
 * zeros, and then
 *
 *      patches[tap][pixel] = image[tap_offsets[tap] + pixel_offsets[pixel]]
 *
 * so stride, padding and dilation are nothing but the contents of two small tables. */
#ifndef TT_OPS_PATCHES_H
#define TT_OPS_PATCHES_H

#include "ops/matmul.h"

/* PLANAR keeps channels apart, so that neighbouring pixels are neighbours in memory: the forward pass packs
 * runs of pixels. Each row keeps its columns 0, s, 2s ... together, then 1, s + 1 ..., for a stride of s.
 * INTERLEAVED has a pixel's channels side by side: the weights' gradient packs runs of taps. */
typedef enum { TT_PLANAR, TT_INTERLEAVED } tt_image_layout;

typedef struct {
    const tt_conv2d_shape *shape;
    tt_image_layout layout;
    size_t channels;            /* of one group */
    size_t taps, pixels;        /* channels * kernel_h * kernel_w, out_h * out_w */
    size_t rows, columns;       /* of the image with its border; columns rounded up to whole strides */
    size_t image_floats;        /* of one group */
    int as_it_is;               /* the image in memory already has this layout */
    size_t *tap_offsets, *pixel_offsets;
    size_t run; /* the pixels come in runs of so many neighbours: a row, or the whole image; PLANAR only */
} tt_patches;

/* INTERLEAVED numbers the taps (row, column, channel), PLANAR (channel, row, column) as the weights are. */
tt_status tt_patches_begin(tt_patches *patches, const tt_conv2d_shape *shape, tt_image_layout layout);
void tt_patches_end(tt_patches *patches);

/* Lays out one group of one image: x (channels, height, width) -> image. */
void tt_patches_lay_out(const tt_patches *patches, const float *x, float *image);
/* The reverse, for gradients: drops the border. PLANAR only. */
void tt_patches_take_back(const tt_patches *patches, const float *image, float *x);

/* The patches (depth: taps, across: pixels) or their transpose (the other way round) as a right operand. */
typedef struct {
    const float *image;
    const size_t *depth, *across; /* offsets */
} tt_patch_operand;

tt_operand tt_columns_of_patches(const tt_patch_operand *operand);

#endif
