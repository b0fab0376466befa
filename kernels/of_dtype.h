/* The kernels of one dtype. Included once for each, with T its C type, OF(name) the name of a function for it, IS_REAL 1
   for floats, and LEAST and MOST the limits of integers, or NaN. Rules and order of sums are those of rasteret_sql/read/resample_numpy.py. */

static inline const T *OF(row)(const Job *job, int64_t row)
{
    return (const T *)(job->pixels.data + row * job->pixels.stride);
}

/* A sum as a value: integers are rounded half up, and stay within their limits. */
static inline T OF(value)(double sum)
{
#if IS_REAL
    return (T)sum;
#else
    sum += 0.5;
    if (sum >= (double)MOST)
        return MOST;
    if (!(sum > (double)LEAST))
        return LEAST;
    /* A cast rounds towards 0. */
    T whole = (T)sum;
    return LEAST == 0 ? whole : (T)(whole - (sum < (double)whole));
#endif
}

/* The weighted sum of the taps of one target, along columns first; whether there is enough weight.
   `is_masked` says whether a tap may be invalid. */
static inline int OF(sum)(const Job *job, const Taps *rows, const Taps *cols, int is_masked, double least,
                          double *value)
{
    double sum = 0, weight = 0;
    for (int64_t i = 0; i < rows->count; i++) {
        double row_weight = rows->weight[i], line = 0, line_weight = 0;
        /* Infinity and NaN without weight must not spoil a sum. */
        if (row_weight == 0)
            continue;
        const T *pixels = OF(row)(job, rows->first + i) + cols->first;
        const uint8_t *mask = is_masked ? mask_row(job, rows->first + i) + cols->first : NULL;
        for (int64_t j = 0; j < cols->count; j++) {
            double col_weight = cols->weight[j];
            if ((IS_REAL && col_weight == 0) || (is_masked && !mask[j]))
                continue;
            line += (double)pixels[j] * col_weight;
            line_weight += col_weight;
        }
        sum += line * row_weight;
        weight += line_weight * row_weight;
    }
    *value = sum;
    return !is_masked || scale_sum(value, weight, least);
}

/* The same, along rows first. */
static int OF(sum_of_large_box)(const Job *job, const Taps *rows, const Taps *cols, int is_masked, double *value)
{
    double sum = 0, weight = 0;
    for (int64_t j = 0; j < cols->count; j++) {
        double line = 0, line_weight = 0;
        if (cols->weight[j] == 0)
            continue;
        for (int64_t i = 0; i < rows->count; i++) {
            if (rows->weight[i] == 0 || (is_masked && !is_valid_at(job, rows->first + i, cols->first + j)))
                continue;
            line += (double)OF(row)(job, rows->first + i)[cols->first + j] * rows->weight[i];
            line_weight += rows->weight[i];
        }
        sum += line * cols->weight[j];
        weight += line_weight * cols->weight[j];
    }
    *value = sum;
    return !is_masked || scale_sum(value, weight, 0);
}

/* Bilinear without widening, at a centre in a valid pixel. */
static int OF(bilinear)(const Job *job, int64_t i, int64_t j, T *out)
{
    double row = float_at(&job->rows, i, j), col = float_at(&job->cols, i, j), sum;
    int64_t above = floor_of(row - 0.5), before = floor_of(col - 0.5);
    double y = (row - 0.5) - (double)above, x = (col - 0.5) - (double)before;
    above -= job->down.offset;
    before -= job->across.offset;
    if (above >= 0 && before >= 0 && above + 1 < job->pixels.height && before + 1 < job->pixels.width) {
        int whole = 1;
        if (job->mask.data != NULL) {
            const uint8_t *first = mask_row(job, above) + before, *second = mask_row(job, above + 1) + before;
            whole = first[0] & first[1] & second[0] & second[1];
        }
        if (whole) {
            const T *first = OF(row)(job, above) + before, *second = OF(row)(job, above + 1) + before;
            sum = 0.0 + ((double)first[0] * (1 - x) + (double)first[1] * x) * (1 - y);
            sum += ((double)second[0] * (1 - x) + (double)second[1] * x) * y;
            if (!IS_REAL || is_finite(sum)) {
                *out = OF(value)(sum);
                return 1;
            }
        }
    }
    Taps rows, cols;
    double weights[4];
    centre_taps(&job->down, row, BILINEAR, 0, 1, weights, &rows);
    centre_taps(&job->across, col, BILINEAR, 0, 1, weights + 2, &cols);
    int is_masked = !is_all_valid(job, rows.first, rows.count, cols.first, cols.count);
    if (!OF(sum)(job, &rows, &cols, is_masked, LEAST_WEIGHT, &sum))
        return 0;
    *out = OF(value)(sum);
    return 1;
}

/* What `sum` gives for the 16 pixels of a cubic kernel, unless infinity or NaN is among them. */
static inline double OF(sum_of_16)(const Job *job, const Taps *rows, const Taps *cols)
{
    double sum = 0, x[4];
    memcpy(x, cols->weight, sizeof x);
    for (int i = 0; i < 4; i++) {
        const T *pixels = OF(row)(job, rows->first + i) + cols->first;
        double line = (double)pixels[0] * x[0];
        line += (double)pixels[1] * x[1];
        line += (double)pixels[2] * x[2];
        line += (double)pixels[3] * x[3];
        sum += line * rows->weight[i];
    }
    return sum;
}

/* Bilinear or cubic at a centre in a valid pixel; whether there is a value. */
static int OF(point)(const Job *job, int64_t i, int64_t j, T *out)
{
    int widened = is_widened(job, i, j);
    if (job->method == BILINEAR && !widened)
        return OF(bilinear)(job, i, j, out);
    Taps rows, cols;
    double sum;
    row_taps(job, i, j, widened, &rows);
    col_taps(job, i, j, widened, job->col_weight, &cols);
    int is_masked = !is_all_valid(job, rows.first, rows.count, cols.first, cols.count);
    if (!widened) {
        /* Where one of the 16 pixels is missing, bilinear takes the place of cubic. */
        if (is_masked || !rows.whole || !cols.whole)
            return OF(bilinear)(job, i, j, out);
        sum = OF(sum_of_16)(job, &rows, &cols);
        if (!IS_REAL || is_finite(sum)) {
            *out = OF(value)(sum);
            return 1;
        }
    }
    if (!OF(sum)(job, &rows, &cols, is_masked, LEAST_WEIGHT, &sum))
        return 0;
    *out = OF(value)(sum);
    return 1;
}

/* The average of a box; whether a valid pixel with weight lies in it. */
static int OF(average)(const Job *job, const Taps *rows, const Taps *cols, T *out)
{
    double sum;
    int is_large = rows->count > LARGEST_SMALL_BOX || cols->count > LARGEST_SMALL_BOX;
    int is_masked = !is_all_valid(job, rows->first, rows->count, cols->first, cols->count);
    if (is_large ? !OF(sum_of_large_box)(job, rows, cols, is_masked, &sum)
                 : !OF(sum)(job, rows, cols, is_masked, 0, &sum))
        return 0;
    *out = OF(value)(sum);
    return 1;
}

/* The least or the greatest value of a box, leaving out NaN; whether a valid pixel lies in it. */
static int OF(extreme)(const Job *job, const Taps *rows, const Taps *cols, T *out)
{
    int is_least = job->method == MIN, is_masked = !is_all_valid(job, rows->first, rows->count, cols->first, cols->count);
    int found = !is_masked;
    /* For floats both are NaN. */
    T best = is_least ? MOST : LEAST;
    for (int64_t i = 0; i < rows->count; i++) {
        const T *pixels = OF(row)(job, rows->first + i) + cols->first;
        const uint8_t *mask = is_masked ? mask_row(job, rows->first + i) + cols->first : NULL;
        for (int64_t j = 0; j < cols->count; j++) {
            T pixel = is_masked && !mask[j] ? best : pixels[j];
            found |= is_masked && mask[j];
            best = (is_least ? pixel < best : pixel > best) || is_nan((double)best) ? pixel : best;
        }
    }
    *out = best;
    return found;
}

/* How often a value has been seen in a box; 0 for an empty entry of a table. */
typedef struct {
    int64_t count;
    T value;
} OF(Entry);

/* The entry of a value in a table whose size is a power of two and larger than the number of values in it. */
static inline OF(Entry) *OF(entry)(OF(Entry) *entries, int64_t size, T value)
{
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    int64_t place = (int64_t)((bits * UINT64_C(0x9E3779B97F4A7C15)) >> 32) & (size - 1);
    while (entries[place].count != 0 && entries[place].value != value)
        place = (place + 1) & (size - 1);
    return &entries[place];
}

/* The most frequent value of a box, the first one that reaches its count; whether a valid pixel lies in it. */
static int OF(mode)(const Job *job, const Taps *rows, const Taps *cols, T *out)
{
    int64_t most = 0, seen = 0, size = 16;
    while (size < 2 * rows->count * cols->count && size < SMALL_TABLE)
        size *= 2;
    OF(Entry) *entries = table_of(job->table, size, sizeof *entries);
    for (int64_t i = rows->first; i < rows->first + rows->count && entries != NULL; i++) {
        const T *pixels = OF(row)(job, i);
        for (int64_t j = cols->first; j < cols->first + cols->count && entries != NULL; j++) {
            /* 0 and -0 are one value. */
            T pixel = pixels[j], key = IS_REAL ? pixel + 0 : pixel;
            if (!is_valid_at(job, i, j))
                continue;
            int64_t count = 1;
            /* NaN equals nothing, not even NaN. */
            if (!is_nan((double)pixel)) {
                OF(Entry) *entry = OF(entry)(entries, size, key);
                seen += entry->count == 0;
                entry->value = key;
                count = ++entry->count;
            }
            if (count > most) {
                most = count;
                *out = pixel;
            }
            if (2 * seen > size) {
                OF(Entry) *old = entries;
                entries = larger_table(job->table, 4 * size, sizeof *entries);
                for (int64_t each = 0; each < size && entries != NULL; each++)
                    if (old[each].count != 0)
                        *OF(entry)(entries, 4 * size, old[each].value) = old[each];
                size *= 4;
                free(old);
            }
        }
    }
    return most > 0;
}

/* The pixel that holds the centre of each target. Fields of the job are copied, since a store into `valid` might change
   them, as far as a compiler knows. */
static void OF(nearest)(const Job *job)
{
    const Axis down = job->down, across = job->across;
    const Plane source = job->pixels, known = job->mask;
    const int64_t width = job->out.width, row_step = job->rows.col_stride, col_step = job->cols.col_stride;
    for (int64_t i = 0; i < job->out.height; i++) {
        T *restrict out = (T *)(job->out.data + i * job->out.stride);
        uint8_t *restrict valid = (uint8_t *)(job->valid.data + i * job->valid.stride);
        const char *rows = job->rows.data + i * job->rows.row_stride;
        const char *cols = job->cols.data + i * job->cols.row_stride;
        for (int64_t j = 0; j < width; j++) {
            double row = *(const double *)(rows + j * row_step), col = *(const double *)(cols + j * col_step);
            T pixel = 0;
            uint8_t found = 0;
            if (is_inside(&down, row) && is_inside(&across, col)) {
                int64_t above = nearest_of(&down, row), before = nearest_of(&across, col);
                found = known.data == NULL || ((const uint8_t *)known.data)[above * known.stride + before];
                pixel = found ? ((const T *)(source.data + above * source.stride))[before] : 0;
            }
            out[j] = pixel;
            valid[j] = found;
        }
    }
}

/* Bilinear without widening. Targets with four valid pixels around them are made here, and `point` makes the others. */
static void OF(unwidened_bilinear)(const Job *job)
{
    const Plane source = job->pixels, known = job->mask;
    const int64_t width = job->out.width, row_step = job->rows.col_stride, col_step = job->cols.col_stride;
    const int64_t row_offset = job->down.offset, col_offset = job->across.offset;
    /* Whole numbers are rounded down by a cast, so offsets below 0 are left to `point`. */
    const int is_fast = row_offset >= 0 && col_offset >= 0;
    const double top = (double)row_offset, bottom = (double)(row_offset + source.height - 1);
    const double left = (double)col_offset, right = (double)(col_offset + source.width - 1);
    for (int64_t i = 0; i < job->out.height; i++) {
        T *restrict out = (T *)(job->out.data + i * job->out.stride);
        uint8_t *restrict valid = (uint8_t *)(job->valid.data + i * job->valid.stride);
        const char *rows = job->rows.data + i * job->rows.row_stride;
        const char *cols = job->cols.data + i * job->cols.row_stride;
        for (int64_t j = 0; j < width; j++) {
            double row = *(const double *)(rows + j * row_step) - 0.5, col = *(const double *)(cols + j * col_step) - 0.5;
            if (is_fast && row >= top && row < bottom && col >= left && col < right) {
                int64_t above = (int64_t)row, before = (int64_t)col;
                double y = row - (double)above, x = col - (double)before;
                above -= row_offset;
                before -= col_offset;
                const uint8_t *mask = (const uint8_t *)known.data + above * known.stride + before;
                if (known.data == NULL || (mask[0] & mask[1] & mask[known.stride] & mask[known.stride + 1])) {
                    const T *first = (const T *)(source.data + above * source.stride) + before;
                    const T *second = (const T *)((const char *)first + source.stride);
                    double sum = 0.0 + ((double)first[0] * (1 - x) + (double)first[1] * x) * (1 - y);
                    sum += ((double)second[0] * (1 - x) + (double)second[1] * x) * y;
                    /* Infinity and NaN may have no weight. */
                    if (!IS_REAL || is_finite(sum)) {
                        out[j] = OF(value)(sum);
                        valid[j] = 1;
                        continue;
                    }
                }
            }
            T value = 0;
            valid[j] = is_centre_valid(job, i, j) && OF(point)(job, i, j, &value);
            out[j] = valid[j] ? value : 0;
        }
    }
}

/* Targets whose pixels are made one by one. */
static void OF(scattered)(const Job *job)
{
    Taps rows, cols;
    int is_area = job->method >= AVERAGE;
    for (int64_t i = 0; i < job->out.height; i++) {
        T *out = (T *)(job->out.data + i * job->out.stride);
        uint8_t *valid = (uint8_t *)(job->valid.data + i * job->valid.stride);
        for (int64_t j = 0; j < job->out.width; j++) {
            T value = 0;
            int found = 0;
            if (!is_area) {
                found = is_centre_valid(job, i, j) && OF(point)(job, i, j, &value);
            } else {
                row_taps(job, i, j, 0, &rows);
                col_taps(job, i, j, 0, job->col_weight, &cols);
                if (rows.inside && cols.inside)
                    found = job->method == AVERAGE ? OF(average)(job, &rows, &cols, &value)
                          : job->method == MODE    ? OF(mode)(job, &rows, &cols, &value)
                                                   : OF(extreme)(job, &rows, &cols, &value);
            }
            out[j] = found ? value : 0;
            valid[j] = (uint8_t)found;
        }
    }
}

/* Sum the rows of the source that make up a row of a separable grid; whether one of their pixels is invalid. */
static int OF(sum_rows)(const Job *job, const Taps *rows, const Columns *columns)
{
    int64_t begin = columns->begin, width = columns->end - columns->begin;
    double *restrict sums = columns->sums, *restrict weights = columns->weights;
    int is_masked = !is_all_valid(job, rows->first, rows->count, begin, width);
    memset(sums, 0, (size_t)width * sizeof(double));
    if (is_masked)
        memset(weights, 0, (size_t)width * sizeof(double));
    for (int64_t i = 0; i < rows->count; i++) {
        double weight = rows->weight[i];
        const T *restrict pixels = OF(row)(job, rows->first + i) + begin;
        if (weight == 0)
            continue;
        if (!is_masked) {
            for (int64_t j = 0; j < width; j++)
                sums[j] += (double)pixels[j] * weight;
            continue;
        }
        const uint8_t *restrict mask = mask_row(job, rows->first + i) + begin;
        for (int64_t j = 0; j < width; j++) {
            sums[j] += mask[j] ? (double)pixels[j] * weight : 0.0;
            weights[j] += mask[j] ? weight : 0.0;
        }
    }
    return is_masked;
}

/* Weighted sums on a separable grid: along rows first, for all columns of the source at once. */
static void OF(separable)(const Job *job, const Columns *columns)
{
    int is_area = job->method == AVERAGE;
    int widened = is_widened(job, 0, 0), takes_16 = job->method == CUBIC && !widened;
    double least = is_area ? 0 : LEAST_WEIGHT;
    for (int64_t i = 0; i < job->out.height; i++) {
        T *out = (T *)(job->out.data + i * job->out.stride);
        uint8_t *valid = (uint8_t *)(job->valid.data + i * job->valid.stride);
        memset(out, 0, (size_t)job->out.width * sizeof(T));
        memset(valid, 0, (size_t)job->out.width);
        Taps rows;
        row_taps(job, i, 0, widened, &rows);
        if (!rows.inside)
            continue;
        int is_masked = OF(sum_rows)(job, &rows, columns);
        for (int64_t j = 0; j < job->out.width; j++) {
            const Taps *cols = &columns->cols[j];
            if (!cols->inside || (!is_area && !is_valid_at(job, rows.nearest, cols->nearest)))
                continue;
            if (takes_16 && (!rows.whole || !cols->whole
                             || (is_masked && !is_all_valid(job, rows.first, rows.count, cols->first, cols->count)))) {
                valid[j] = (uint8_t)OF(bilinear)(job, i, j, &out[j]);
                continue;
            }
            const double *sums = columns->sums + (cols->first - columns->begin);
            const double *weights = columns->weights + (cols->first - columns->begin);
            double sum = 0, weight = 0;
            for (int64_t tap = 0; tap < cols->count; tap++) {
                if (IS_REAL && cols->weight[tap] == 0)
                    continue;
                sum += sums[tap] * cols->weight[tap];
                if (is_masked)
                    weight += weights[tap] * cols->weight[tap];
            }
            if (is_masked && !takes_16 && !scale_sum(&sum, weight, least))
                continue;
            out[j] = OF(value)(sum);
            valid[j] = 1;
        }
    }
}

static void OF(resample)(const Job *job, const Columns *columns)
{
    if (columns != NULL)
        OF(separable)(job, columns);
    else if (job->method == NEAREST)
        OF(nearest)(job);
    else if (job->method == BILINEAR && !job->may_widen)
        OF(unwidened_bilinear)(job);
    else
        OF(scattered)(job);
}

#undef T
#undef OF
#undef IS_REAL
#undef LEAST
#undef MOST
