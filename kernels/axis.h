/* The source pixels of a target pixel along one axis, and their weights: the rules of rasteret_sql/read/taps.py.

   Every expression rounds as the NumPy expression does: same operations, same order, no fused multiply-add. */

#ifndef RASTERET_AXIS_H
#define RASTERET_AXIS_H

#include <stdint.h>
#include <string.h>

/* Pixels: a coordinate this close to the next pixel lies in it. */
#define EPSILON 1e-10
/* Source pixels per target pixel above which kernels widen. */
#define WIDENED_FROM (1 / 0.95)

enum method { NEAREST, BILINEAR, CUBIC, AVERAGE, MODE, MIN, MAX };

/* The part of a file that was read, along one axis: `size` pixels from pixel `offset` on. */
typedef struct {
    int64_t offset;
    int64_t size;
} Axis;

/* The source pixels of one target: `count` neighbours from `first` on, all inside the part that was read.

   `inside` says whether the target lies in the image, `whole` whether the kernel does, and `nearest` is the pixel that
   holds the centre. `weight` has one value for each neighbour. Without `inside`, nothing else is set. */
typedef struct {
    int inside;
    int whole;
    int64_t nearest;
    int64_t first;
    int64_t count;
    double *weight;
} Taps;

/* floor() for numbers that fit int64; without SSE 4.1, the library's is a call. */
static inline int64_t floor_of(double x)
{
    int64_t whole = (int64_t)x;
    return whole - (x < (double)whole);
}

static inline int is_finite(double x)
{
    return x - x == 0;
}

static inline int is_nan(double x)
{
    return x != x;
}

static inline int is_inside(const Axis *axis, double position)
{
    return position >= (double)axis->offset && position + EPSILON <= (double)(axis->offset + axis->size);
}

/* The pixel that holds a position inside of the image. */
static inline int64_t nearest_of(const Axis *axis, double position)
{
    int64_t index = (int64_t)(position + EPSILON) - axis->offset;
    return index < 0 ? 0 : index >= axis->size ? axis->size - 1 : index;
}

/* The pixels that a kernel reaches on each side of a position. */
static inline int64_t radius_of(enum method method, double scale)
{
    double reach = (method == CUBIC ? 2 : 1) * (scale > 1 ? scale : 1.0);
    int64_t whole = (int64_t)reach;
    return whole + ((double)whole < reach);
}

static void weigh_widened(enum method method, int64_t radius, double fraction, double scale, double *weight)
{
    double total = 0;
    for (int64_t tap = 0; tap < 2 * radius; tap++) {
        double distance = (double)(tap + 1 - radius) - fraction;
        double x = (distance < 0 ? -distance : distance) / scale;
        if (method == BILINEAR)
            weight[tap] = 1 - x > 0 ? 1 - x : 0;
        else if (x < 1)
            weight[tap] = (1.5 * x - 2.5) * x * x + 1;
        else
            weight[tap] = x < 2 ? ((2.5 - 0.5 * x) * x - 4) * x + 2 : 0;
        total += weight[tap];
    }
    for (int64_t tap = 0; tap < 2 * radius; tap++)
        weight[tap] /= total;
}

/* Leave out the taps outside of the image. Where they had weight, the others are scaled to a sum of 1. */
static void cut_taps(const Axis *axis, int64_t first, int64_t count, Taps *taps)
{
    int64_t begin = first < 0 ? -first : 0;
    int64_t end = axis->size - first < count ? axis->size - first : count;
    taps->whole = begin == 0 && end == count;
    if (!taps->whole) {
        int is_cut = 0;
        double total = 0;
        for (int64_t tap = 0; tap < count; tap++) {
            if (tap >= begin && tap < end)
                total += taps->weight[tap];
            else
                is_cut |= taps->weight[tap] != 0;
        }
        for (int64_t tap = begin; is_cut && tap < end; tap++)
            taps->weight[tap] /= total;
    }
    taps->weight += begin;
    taps->first = first + begin;
    taps->count = end - begin;
}

/* The taps of a kernel at a position. `weight` has room for 2 * radius_of(method, scale) values. */
static void centre_taps(const Axis *axis, double position, enum method method, int is_widened, double scale,
                        double *weight, Taps *taps)
{
    taps->inside = is_inside(axis, position);
    if (!taps->inside)
        return;
    taps->nearest = nearest_of(axis, position);
    int64_t before = floor_of(position - 0.5);
    double x = (position - 0.5) - (double)before;
    int64_t radius = radius_of(method, is_widened ? scale : 1.0);
    taps->weight = weight;
    if (is_widened) {
        weigh_widened(method, radius, x, scale > 1 ? scale : 1.0, weight);
    } else if (method == BILINEAR) {
        weight[0] = 1 - x;
        weight[1] = x;
    } else {
        weight[0] = ((1 - 0.5 * x) * x - 0.5) * x;
        weight[3] = (0.5 * x - 0.5) * x * x;
        weight[2] = ((2 - 1.5 * x) * x + 0.5) * x;
        weight[1] = 1 - weight[0] - weight[2] - weight[3];
    }
    cut_taps(axis, before - axis->offset + 1 - radius, 2 * radius, taps);
}

/* Weigh the pixels that a box touches by the part of each that is covered. */
static void weigh_box(double start, double stop, Taps *taps)
{
    int64_t last = taps->count - 1;
    double *weight = taps->weight, total = 0;
    for (int64_t tap = 1; tap < last; tap++)
        weight[tap] = 1;
    /* At the edges of the image these may be more than 1: the outermost pixels stand for what lies outside. */
    weight[0] = (double)(taps->first + 1) - start;
    weight[last] = stop - (double)(taps->first + last);
    weight[0] = weight[0] > 0 ? weight[0] : 0;
    weight[last] = weight[last] > 0 ? weight[last] : 0;
    if (last == 0)
        weight[0] = 1;
    for (int64_t tap = 0; tap <= last; tap++)
        total += weight[tap];
    for (int64_t tap = 0; tap <= last; tap++)
        weight[tap] /= total;
}

/* The pixels that a box touches, from its `corner` to the one `across`. `weight` has room for `axis->size` values. */
static void box_taps(const Axis *axis, double corner, double across, int is_weighted, double *weight, Taps *taps)
{
    double offset = (double)axis->offset, end = (double)(axis->offset + axis->size);
    double low = corner < across ? corner : across, high = corner < across ? across : corner;
    taps->inside = is_finite(corner) && is_finite(across) && low < end;
    if (!taps->inside)
        return;
    /* A box without extent at the edge of a pixel lies in the pixel that begins there. */
    taps->inside = low == high ? low >= offset - 1 && (double)floor_of(low + EPSILON) + 1 > offset : high > offset;
    if (!taps->inside)
        return;
    double begin = low + EPSILON, finish = high - EPSILON;
    taps->first = begin < offset ? 0 : begin >= end ? axis->size - 1 : floor_of(begin) - axis->offset;
    int64_t last = axis->size;
    if (finish <= offset) {
        last = 0;
    } else if (finish < end) {
        int64_t whole = floor_of(finish);
        last = whole + ((double)whole < finish) - axis->offset;
    }
    taps->count = last > taps->first ? last - taps->first : 1;
    taps->weight = weight;
    if (is_weighted)
        weigh_box(low - offset, high - offset, taps);
}

#endif
