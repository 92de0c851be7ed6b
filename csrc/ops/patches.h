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

/* IN_ORDER has its rows as they are, for readers that take one pixel at a time. BY_STRIDE keeps columns 0, s,
 * 2s ... of a row together, then 1, s + 1 ..., for a stride of s: for readers of vectors of pixels. */
typedef enum { TT_IN_ORDER, TT_BY_STRIDE } tt_image_layout;

typedef struct {
    const tt_conv2d_shape *shape;
    tt_image_layout layout;
    size_t channels;            /* of one group */
    size_t taps, pixels;        /* channels * kernel_h * kernel_w, out_h * out_w */
    size_t rows, columns;       /* of the image with its border */
    size_t phases;              /* BY_STRIDE: the stride, which divides the columns; else 1 */
    size_t image_floats;        /* of one group */
    int as_it_is;               /* the image in memory already has this layout */
    size_t *tap_offsets, *pixel_offsets;
    size_t run; /* the pixels come in runs of so many neighbours: a row, or the whole image */
} tt_patches;

tt_status tt_patches_begin(tt_patches *patches, const tt_conv2d_shape *shape, tt_image_layout layout);
void tt_patches_end(tt_patches *patches);

/* Lays out one group of one image: x (channels, height, width) -> image. */
void tt_patches_lay_out(const tt_patches *patches, const float *x, float *image);
/* Some of its channels, and of each only some rows, counted with the border, at their places in the image. */
void tt_patches_lay_out_rows(const tt_patches *patches, size_t channels, size_t first, size_t rows,
                             const float *x, float *image);
/* The reverse, for gradients: drops the border. */
void tt_patches_take_back(const tt_patches *patches, const float *image, float *x);

/* The patches (depth: taps, across: pixels) as a right operand. */
typedef struct {
    const float *image;
    const size_t *depth, *across; /* offsets */
} tt_patch_operand;

tt_operand tt_columns_of_patches(const tt_patch_operand *operand);

#endif
