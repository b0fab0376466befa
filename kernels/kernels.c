/* Compiled kernels of rasteret_sql/read/resample.py. They give the pixels of resample_numpy.py, bit for bit.

   All shapes and dtypes are checked before the first access, and taps are cut to the source where they are found. So
   wrong arguments are a ValueError. The GIL is released while pixels are made. */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#include "job.h"

#define T uint8_t
#define OF(name) name##_uint8
#define IS_REAL 0
#define LEAST 0
#define MOST UINT8_MAX
#include "of_dtype.h"

#define T int8_t
#define OF(name) name##_int8
#define IS_REAL 0
#define LEAST INT8_MIN
#define MOST INT8_MAX
#include "of_dtype.h"

#define T uint16_t
#define OF(name) name##_uint16
#define IS_REAL 0
#define LEAST 0
#define MOST UINT16_MAX
#include "of_dtype.h"

#define T int16_t
#define OF(name) name##_int16
#define IS_REAL 0
#define LEAST INT16_MIN
#define MOST INT16_MAX
#include "of_dtype.h"

#define T uint32_t
#define OF(name) name##_uint32
#define IS_REAL 0
#define LEAST 0
#define MOST UINT32_MAX
#include "of_dtype.h"

#define T int32_t
#define OF(name) name##_int32
#define IS_REAL 0
#define LEAST INT32_MIN
#define MOST INT32_MAX
#include "of_dtype.h"

#define T uint64_t
#define OF(name) name##_uint64
#define IS_REAL 0
#define LEAST 0
#define MOST UINT64_MAX
#include "of_dtype.h"

#define T int64_t
#define OF(name) name##_int64
#define IS_REAL 0
#define LEAST INT64_MIN
#define MOST INT64_MAX
#include "of_dtype.h"

#define T float
#define OF(name) name##_float32
#define IS_REAL 1
#define LEAST NAN
#define MOST NAN
#include "of_dtype.h"

#define T double
#define OF(name) name##_float64
#define IS_REAL 1
#define LEAST NAN
#define MOST NAN
#include "of_dtype.h"

typedef void (*Kernel)(const Job *, const Columns *);

/* The kernel for pixels of a kind (unsigned, signed or floats) and size; NULL where there is none. */
static Kernel kernel_of(enum method method, char kind, Py_ssize_t size)
{
    static const Kernel unsigneds[] = {resample_uint8, resample_uint16, resample_uint32, resample_uint64};
    static const Kernel signeds[] = {resample_int8, resample_int16, resample_int32, resample_int64};
    static const Kernel reals[] = {NULL, NULL, resample_float32, resample_float64};
    int power = size == 1 ? 0 : size == 2 ? 1 : size == 4 ? 2 : size == 8 ? 3 : -1;
    if (power < 0)
        return NULL;
    /* Nearest moves pixels and computes nothing, so their size is all that counts. */
    if (method == NEAREST)
        return unsigneds[power];
    return kind == 'u' ? unsigneds[power] : kind == 'i' ? signeds[power] : kind == 'f' ? reals[power] : NULL;
}

static const char *format_of(const Py_buffer *buffer)
{
    return buffer->format == NULL ? "B" : buffer->format;
}

/* The kind of the elements of a buffer: unsigned, signed, floats, bools, or x for others. */
static char kind_of(const Py_buffer *buffer)
{
    const char *format = format_of(buffer);
    if (*format == '@' || *format == '=')
        format++;
    if (format[0] == '\0' || format[1] != '\0')
        return 'x';
    if (strchr("BHILQ", format[0]) != NULL)
        return 'u';
    if (strchr("bhilq", format[0]) != NULL)
        return 'i';
    return format[0] == 'f' || format[0] == 'd' ? 'f' : format[0] == '?' ? 'b' : 'x';
}

/* The arguments of a call that are arrays. `held` counts the buffers to be released. */
enum array { PIXELS, MASK, ROWS, COLS, ROW_SCALE, COL_SCALE, OUT, VALID, ARRAYS };
static const char *const NAMES[ARRAYS] = {"pixels", "mask", "rows", "cols", "row_scale", "col_scale", "out", "valid"};

typedef struct {
    Py_buffer of[ARRAYS];
    int is_held[ARRAYS];
} Buffers;

static void release(Buffers *buffers)
{
    for (int each = 0; each < ARRAYS; each++)
        if (buffers->is_held[each])
            PyBuffer_Release(&buffers->of[each]);
}

/* Hold the buffer of an array of a kind (NUL for any) with elements that are neighbours and aligned; 0 with an error. */
static int hold(Buffers *buffers, enum array which, PyObject *array, char kind, int is_writable)
{
    Py_buffer *buffer = &buffers->of[which];
    if (PyObject_GetBuffer(array, buffer, is_writable ? PyBUF_RECORDS : PyBUF_RECORDS_RO) < 0)
        return 0;
    buffers->is_held[which] = 1;
    int last = buffer->ndim - 1;
    if (buffer->ndim < 1 || buffer->ndim > 2 || buffer->itemsize < 1) {
        PyErr_Format(PyExc_ValueError, "%s: got %d dimensions, expected 1 or 2 of numbers", NAMES[which], buffer->ndim);
        return 0;
    }
    if (kind != '\0' && (kind_of(buffer) != kind || (kind == 'f' && buffer->itemsize != 8))) {
        PyErr_Format(PyExc_ValueError, "%s: got elements of format %s, expected %s", NAMES[which],
                     format_of(buffer), kind == 'f' ? "d" : "?");
        return 0;
    }
    int is_whole = buffer->shape[last] <= 1 || buffer->strides[last] == buffer->itemsize;
    if (last == 1)
        is_whole = is_whole && (buffer->shape[0] <= 1 || buffer->strides[0] % buffer->itemsize == 0);
    if (!is_whole || (uintptr_t)buffer->buf % (uintptr_t)buffer->itemsize != 0) {
        PyErr_Format(PyExc_ValueError, "%s: expected aligned elements that are neighbours within a row", NAMES[which]);
        return 0;
    }
    return 1;
}

/* A held 2-D buffer as a plane; 0 with an error where it has another shape than expected. */
static int plane_of(const Buffers *buffers, enum array which, int64_t height, int64_t width, Plane *plane)
{
    const Py_buffer *buffer = &buffers->of[which];
    if (buffer->ndim != 2 || (height >= 0 && (buffer->shape[0] != height || buffer->shape[1] != width))) {
        PyErr_Format(PyExc_ValueError, "%s: got %d dimensions of (%zd, %zd), expected (%zd, %zd)", NAMES[which],
                     buffer->ndim, buffer->shape[0], buffer->shape[buffer->ndim - 1], (Py_ssize_t)height,
                     (Py_ssize_t)width);
        return 0;
    }
    *plane = (Plane){buffer->buf, buffer->shape[0], buffer->shape[1], buffer->strides[0]};
    return 1;
}

/* Coordinates along both axes: two 1-D arrays, or two 2-D arrays of one shape; 0 with an error. */
static int coordinates_of(const Buffers *buffers, Job *job, int64_t *height, int64_t *width)
{
    const Py_buffer *rows = &buffers->of[ROWS], *cols = &buffers->of[COLS];
    int is_separable = rows->ndim == 1 && cols->ndim == 1;
    if (!is_separable && (rows->ndim != 2 || cols->ndim != 2 || rows->shape[0] != cols->shape[0]
                          || rows->shape[1] != cols->shape[1])) {
        PyErr_SetString(PyExc_ValueError, "rows and cols: expected two 1-D arrays, or two 2-D arrays of one shape");
        return 0;
    }
    *height = rows->shape[0];
    *width = cols->shape[cols->ndim - 1];
    if (is_separable) {
        job->rows = (Floats){rows->buf, sizeof(double), 0};
        job->cols = (Floats){cols->buf, 0, sizeof(double)};
    } else {
        job->rows = (Floats){rows->buf, rows->strides[0], sizeof(double)};
        job->cols = (Floats){cols->buf, cols->strides[0], sizeof(double)};
    }
    return 1;
}

/* The scale of kernels along an axis, a number or an array of the targets' shape; 0 with an error.
   `number` keeps the number, and `largest` becomes the largest scale. */
static int scale_of(Buffers *buffers, enum array which, PyObject *scale, const Job *job, Floats *floats, double *number,
                    double *largest)
{
    if (PyFloat_Check(scale)) {
        *largest = *number = PyFloat_AsDouble(scale);
        *floats = (Floats){(const char *)number, 0, 0};
    } else {
        Plane plane;
        if (!hold(buffers, which, scale, 'f', 0) || !plane_of(buffers, which, job->out.height, job->out.width, &plane))
            return 0;
        *floats = (Floats){plane.data, plane.stride, sizeof(double)};
        *largest = 0;
        for (int64_t i = 0; i < plane.height; i++)
            for (int64_t j = 0; j < plane.width; j++) {
                double each = float_at(floats, i, j);
                *largest = each > *largest || each != each ? each : *largest;
            }
    }
    /* Weights of twice as many pixels, on both sides of a centre, are held in memory. */
    if (!(*largest <= 1e8)) {
        PyErr_Format(PyExc_ValueError, "%s: expected finite numbers up to 1e8", NAMES[which]);
        return 0;
    }
    return 1;
}

/* Make the columns of a separable grid; 0 where memory is lacking. The caller frees `taps` and `pool`. */
static int make_columns(const Job *job, int64_t room, Taps **taps, double **pool, Columns *columns)
{
    int64_t width = job->out.width, used = 0, capacity = 0;
    *taps = calloc((size_t)width + 1, sizeof(Taps));
    if (*taps == NULL)
        return 0;
    columns->begin = job->pixels.width;
    columns->end = 0;
    for (int64_t j = 0; j < width; j++) {
        Taps *each = &(*taps)[j];
        col_taps(job, 0, j, is_widened(job, 0, 0), job->col_weight, each);
        if (!each->inside)
            continue;
        if (used + each->count > capacity) {
            capacity = 2 * (used + each->count) + room;
            double *larger = realloc(*pool, (size_t)capacity * sizeof(double));
            if (larger == NULL)
                return 0;
            *pool = larger;
        }
        memcpy(*pool + used, each->weight, (size_t)each->count * sizeof(double));
        used += each->count;
        columns->begin = each->first < columns->begin ? each->first : columns->begin;
        columns->end = each->first + each->count > columns->end ? each->first + each->count : columns->end;
    }
    /* The pool may have moved while it grew. */
    double *weight = *pool;
    for (int64_t j = 0; j < width; j++)
        if ((*taps)[j].inside) {
            (*taps)[j].weight = weight;
            weight += (*taps)[j].count;
        }
    columns->cols = *taps;
    columns->end = columns->end < columns->begin ? columns->begin : columns->end;
    return 1;
}

/* Make the pixels of a checked job, without the GIL; 0 where memory is lacking. */
static int run(Job *job, Kernel kernel, int is_separable, double largest_row_scale, double largest_col_scale)
{
    int is_weighted = job->method != NEAREST && job->method < MODE;
    int64_t room[2] = {0, 0};
    if (job->method == AVERAGE) {
        room[0] = job->pixels.height;
        room[1] = job->pixels.width;
    } else if (is_weighted) {
        room[0] = 2 * radius_of(job->method, largest_row_scale);
        room[1] = 2 * radius_of(job->method, largest_col_scale);
    }
    Table table = {NULL, 0, 0};
    double *scratch = malloc((size_t)(room[0] + room[1] + 2 * job->pixels.width + 1) * sizeof(double)), *pool = NULL;
    Taps *taps = NULL;
    int is_done = scratch != NULL;
    if (is_done) {
        job->table = &table;
        job->row_weight = scratch;
        job->col_weight = scratch + room[0];
        Columns columns = {.sums = scratch + room[0] + room[1]};
        columns.weights = columns.sums + job->pixels.width;
        int has_columns = is_separable && is_weighted;
        is_done = !has_columns || make_columns(job, room[1], &taps, &pool, &columns);
        if (is_done)
            kernel(job, has_columns ? &columns : NULL);
    }
    free(scratch);
    free(pool);
    free(taps);
    free(table.entries);
    return is_done && !table.is_lacking;
}

static PyObject *resample(PyObject *module, PyObject *args)
{
    (void)module;
    static const char *const methods[] = {"nearest", "bilinear", "cubic", "average", "mode", "min", "max"};
    PyObject *arrays[ARRAYS];
    const char *name;
    long long row_offset, col_offset;
    if (!PyArg_ParseTuple(args, "OOOOsOOLLOO", &arrays[PIXELS], &arrays[MASK], &arrays[ROWS], &arrays[COLS], &name,
                          &arrays[ROW_SCALE], &arrays[COL_SCALE], &row_offset, &col_offset, &arrays[OUT],
                          &arrays[VALID]))
        return NULL;
    Job job;
    Buffers buffers;
    memset(&job, 0, sizeof job);
    memset(&buffers, 0, sizeof buffers);
    job.method = NEAREST;
    while (job.method <= MAX && strcmp(methods[job.method], name) != 0)
        job.method++;
    int64_t height, width, corners = job.method >= AVERAGE;
    double row_scale, col_scale, largest[2];
    int is_held = hold(&buffers, PIXELS, arrays[PIXELS], '\0', 0) && plane_of(&buffers, PIXELS, -1, -1, &job.pixels)
        && (arrays[MASK] == Py_None
            || (hold(&buffers, MASK, arrays[MASK], 'b', 0)
                && plane_of(&buffers, MASK, job.pixels.height, job.pixels.width, &job.mask)))
        && hold(&buffers, ROWS, arrays[ROWS], 'f', 0) && hold(&buffers, COLS, arrays[COLS], 'f', 0)
        && coordinates_of(&buffers, &job, &height, &width) && hold(&buffers, OUT, arrays[OUT], '\0', 1)
        && plane_of(&buffers, OUT, height - corners, width - corners, &job.out)
        && hold(&buffers, VALID, arrays[VALID], 'b', 1)
        && plane_of(&buffers, VALID, job.out.height, job.out.width, &job.valid)
        && scale_of(&buffers, ROW_SCALE, arrays[ROW_SCALE], &job, &job.row_scale, &row_scale, &largest[0])
        && scale_of(&buffers, COL_SCALE, arrays[COL_SCALE], &job, &job.col_scale, &col_scale, &largest[1]);
    if (!is_held) {
        release(&buffers);
        return NULL;
    }
    const Py_buffer *pixels = &buffers.of[PIXELS], *out = &buffers.of[OUT];
    Kernel kernel = job.method > MAX ? NULL : kernel_of(job.method, kind_of(pixels), pixels->itemsize);
    PyObject *result = NULL;
    if (kernel == NULL || out->itemsize != pixels->itemsize || kind_of(out) != kind_of(pixels)) {
        PyErr_Format(PyExc_ValueError, "method %s: there is no kernel from pixels of format %s to out of format %s", name,
                     format_of(pixels), format_of(out));
    } else if (job.pixels.height < 1 || job.pixels.width < 1) {
        PyErr_SetString(PyExc_ValueError, "pixels: got none, expected one at least");
    } else if (row_offset < -(1LL << 52) || row_offset > 1LL << 52 || col_offset < -(1LL << 52)
               || col_offset > 1LL << 52) {
        PyErr_SetString(PyExc_ValueError, "offset: expected numbers of pixels that a float64 holds exactly");
    } else {
        job.may_widen = largest[0] > WIDENED_FROM || largest[1] > WIDENED_FROM;
        job.down = (Axis){row_offset, job.pixels.height};
        job.across = (Axis){col_offset, job.pixels.width};
        int is_done;
        Py_BEGIN_ALLOW_THREADS
        is_done = run(&job, kernel, buffers.of[ROWS].ndim == 1, largest[0], largest[1]);
        Py_END_ALLOW_THREADS
        result = is_done ? Py_NewRef(Py_None) : PyErr_NoMemory();
    }
    release(&buffers);
    return result;
}

static PyMethodDef functions[] = {
    {"resample", resample, METH_VARARGS,
     "resample(pixels, mask, rows, cols, method, row_scale, col_scale, row_offset, col_offset, out, valid)\n--\n\n"
     "Fill `out` and `valid` with resampled pixels and their validity."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_kernels", "Compiled kernels of resampling.", 0, functions, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__kernels(void)
{
    return PyModuleDef_Init(&definition);
}
