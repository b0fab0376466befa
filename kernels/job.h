/* One call of a kernel: arrays whose shapes have been checked, and scratch memory. */

#ifndef RASTERET_JOB_H
#define RASTERET_JOB_H

#include <math.h>
#include <stdlib.h>

#include "axis.h"

/* Sums of weights this close to 1 are 1: all source pixels are valid, and only rounding says otherwise. */
#define WEIGHT_ERROR 1e-12
/* Kernels need more than this weight of valid pixels. */
#define LEAST_WEIGHT 1e-6
/* Boxes with a longer side are summed over rows first, as separable grids are. */
#define LARGEST_SMALL_BOX 32
/* Entries of a table of values that are made at once. Boxes with more values have a table that grows. */
#define SMALL_TABLE 1024

/* A 2-D array of elements that are neighbours within a row. `data` is NULL for a mask that holds everywhere. */
typedef struct {
    char *data;
    int64_t height;
    int64_t width;
    int64_t stride;
} Plane;

/* float64 of target pixels; a stride of 0 stands for values that do not change along that axis. */
typedef struct {
    const char *data;
    int64_t row_stride;
    int64_t col_stride;
} Floats;

/* The values of a box, in memory that boxes share one after the other. `is_lacking` says that there was too little. */
typedef struct {
    void *entries;
    size_t nbytes;
    int is_lacking;
} Table;

typedef struct {
    enum method method;
    Plane pixels;
    Plane mask;
    Axis down;
    Axis across;
    Floats rows;
    Floats cols;
    Floats row_scale;
    Floats col_scale;
    /* Whether the scale of a target widens its kernel. */
    int may_widen;
    Plane out;
    Plane valid;
    /* Weights of one target. */
    double *row_weight;
    double *col_weight;
    /* The values of one box. */
    Table *table;
} Job;

/* The columns of a separable grid, and scratch rows as wide as the source. */
typedef struct {
    const Taps *cols;
    int64_t begin;
    int64_t end;
    double *sums;
    double *weights;
} Columns;

static inline double float_at(const Floats *floats, int64_t row, int64_t col)
{
    return *(const double *)(floats->data + row * floats->row_stride + col * floats->col_stride);
}

static inline const uint8_t *mask_row(const Job *job, int64_t row)
{
    return (const uint8_t *)(job->mask.data + row * job->mask.stride);
}

static inline int is_valid_at(const Job *job, int64_t row, int64_t col)
{
    return job->mask.data == NULL || mask_row(job, row)[col];
}

/* Whether all pixels of a window of the source are valid. */
static int is_all_valid(const Job *job, int64_t row, int64_t height, int64_t col, int64_t width)
{
    if (job->mask.data == NULL)
        return 1;
    for (int64_t each = row; each < row + height; each++) {
        const uint8_t *mask = mask_row(job, each) + col;
        if (width > 16) {
            if (memchr(mask, 0, (size_t)width) != NULL)
                return 0;
            continue;
        }
        for (int64_t i = 0; i < width; i++)
            if (!mask[i])
                return 0;
    }
    return 1;
}

/* Whether the centre of a target lies in a valid pixel. */
static inline int is_centre_valid(const Job *job, int64_t i, int64_t j)
{
    double row = float_at(&job->rows, i, j), col = float_at(&job->cols, i, j);
    return is_inside(&job->down, row) && is_inside(&job->across, col)
        && is_valid_at(job, nearest_of(&job->down, row), nearest_of(&job->across, col));
}

static inline int is_widened(const Job *job, int64_t i, int64_t j)
{
    return float_at(&job->row_scale, i, j) > WIDENED_FROM || float_at(&job->col_scale, i, j) > WIDENED_FROM;
}

/* Find the taps of a row of targets, or of one target: along rows. */
static void row_taps(const Job *job, int64_t i, int64_t j, int widened, Taps *taps)
{
    double row = float_at(&job->rows, i, j);
    if (job->method < AVERAGE)
        centre_taps(&job->down, row, job->method, widened, float_at(&job->row_scale, i, j), job->row_weight, taps);
    else
        box_taps(&job->down, row, float_at(&job->rows, i + 1, j + 1), job->method == AVERAGE, job->row_weight, taps);
}

/* The same along columns. */
static void col_taps(const Job *job, int64_t i, int64_t j, int widened, double *weight, Taps *taps)
{
    double col = float_at(&job->cols, i, j);
    if (job->method < AVERAGE)
        centre_taps(&job->across, col, job->method, widened, float_at(&job->col_scale, i, j), weight, taps);
    else
        box_taps(&job->across, col, float_at(&job->cols, i + 1, j + 1), job->method == AVERAGE, weight, taps);
}

/* An empty table of some entries, in place of the one before; NULL where memory is lacking. */
static void *table_of(Table *table, int64_t size, size_t entry)
{
    size_t nbytes = (size_t)size * entry;
    if (table->nbytes < nbytes) {
        free(table->entries);
        table->entries = malloc(nbytes);
        table->nbytes = table->entries == NULL ? 0 : nbytes;
        table->is_lacking |= table->entries == NULL;
    }
    if (table->entries != NULL)
        memset(table->entries, 0, nbytes);
    return table->entries;
}

/* The same, but the caller keeps the memory of the one before, and frees it. */
static void *larger_table(Table *table, int64_t size, size_t entry)
{
    table->entries = NULL;
    table->nbytes = 0;
    return table_of(table, size, entry);
}

/* Scale a sum to the weight of the valid pixels in it; whether they have more than the least weight. */
static inline int scale_sum(double *sum, double weight, double least)
{
    if (!(weight > least))
        return 0;
    double from_one = weight - 1;
    if (from_one >= WEIGHT_ERROR || from_one <= -WEIGHT_ERROR)
        *sum /= weight;
    return 1;
}

#endif
