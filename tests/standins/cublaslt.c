/* A stand-in for libcublasLt that computes its products, on host memory, from the header's description of the
   interface: types, layouts, transposition, scales and scalars count, so a wrong one shows in the result. It is as
   strict as the real library: an attribute that it does not know, or of another width, is an invalid value.

   Tests steer it: cublaslt_standin_fail_next(call, status) makes the next such call fail; _last_algo, _last_stream
   and _last_workspace tell what the last product ran with; _live counts what was created and not destroyed. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, NOT_INITIALIZED = 1, ALLOC_FAILED = 3, INVALID_VALUE = 7, NOT_SUPPORTED = 15 };
enum { F32 = 0, F64 = 1, F16 = 2, I8 = 3, I32 = 10, BF16 = 14, E4M3 = 28, E2M1 = 33 };
enum { IN_F16 = 64, IN_F32 = 68, IN_F64 = 70, IN_I32 = 72, IN_TF32 = 77 };
enum { HANDLE = 0x4c54, DESCRIPTOR, LAYOUT, PREFERENCE, ALGORITHM };
enum { SCALAR_32F = 0, VEC16_UE4M3 = 1 };

typedef struct { int kind; } Handle;
typedef struct {
    int kind, compute, scale;
    int32_t transa, transb, mode_a, mode_b;
    const void *scale_a, *scale_b;
    int8_t fast;
} Descriptor;
typedef struct { int kind, type; uint64_t rows, columns; int64_t ld; } Layout;
typedef struct { int kind; uint64_t workspace; } Preference;
typedef struct { uint64_t kind, index, unused[6]; } Algorithm;
typedef struct { Algorithm algorithm; size_t workspace; int state; float waves; int reserved[4]; } Result;

/* One is offered with a state other than success, as the real library may; 9999 is a tile that no binding knows. */
static const struct { uint32_t config[9]; uint64_t workspace; float waves; int state; } OFFERED[] = {
    {{66, 20, 1, 0, 0, 0, 36, 0, 3}, 0, 1.0f, SUCCESS},
    {{67, 23, 1, 0, 1, 2, 36, 0, 6}, 0, 1.25f, SUCCESS},
    {{21, 15, 1, 0, 0, 0, 16, 4, 2}, 0, 0.5f, NOT_SUPPORTED},
    {{22, 24, 4, 2, 0, 0, 9, 4, 2}, 1 << 20, 1.5f, SUCCESS},
    {{68, 9999, 1, 0, 0, 0, 35, 0, 0}, 8 << 20, 2.0f, SUCCESS},
    {{69, 18, 2, 1, 0, 0, 35, 0, 0}, 64 << 20, 2.0f, SUCCESS},
};
enum { OFFERS = sizeof OFFERED / sizeof *OFFERED };

/* Which products there are, and what m, n and k must then be multiples of, in this library's own m and n. */
static const struct { int operand, result, compute, scale, m, n, k, narrow; } PRODUCTS[] = {
    {F64, F64, IN_F64, F64, 1, 1, 1, 0},    {F32, F32, IN_F32, F32, 1, 1, 1, 0},
    {F32, F32, IN_TF32, F32, 1, 1, 1, 0},   {F16, F16, IN_F32, F32, 1, 1, 1, 0},
    {F16, F16, IN_F16, F16, 1, 1, 1, 0},    {BF16, BF16, IN_F32, F32, 1, 1, 1, 0},
    {E4M3, BF16, IN_F32, F32, 16, 1, 16, 1}, {I8, I32, IN_I32, I32, 4, 1, 4, 1},
    {E2M1, BF16, IN_F32, F32, 16, 1, 32, 1},
};
enum { PRODUCT_COUNT = sizeof PRODUCTS / sizeof *PRODUCTS };

static struct { char call[64]; int status; } doomed_call;
static struct { int algo; void *stream, *workspace; } last = {-1, NULL, NULL};
static int live;

void cublaslt_standin_fail_next(const char *call, int status) {
    strncpy(doomed_call.call, call, sizeof doomed_call.call - 1);
    doomed_call.status = status;
}
int cublaslt_standin_last_algo(void) { return last.algo; }
void *cublaslt_standin_last_stream(void) { return last.stream; }
void *cublaslt_standin_last_workspace(void) { return last.workspace; }
int cublaslt_standin_live(void) { return live; }

static int doomed(const char *call) {
    if (strcmp(call, doomed_call.call) != 0) return SUCCESS;
    doomed_call.call[0] = 0;
    return doomed_call.status;
}
#define FAIL_IF_DOOMED() do { int status = doomed(__func__); if (status) return status; } while (0)
#define REQUIRE(condition, status) do { if (!(condition)) return status; } while (0)

/* --- numbers ------------------------------------------------------------------------------------------------ */

/* Round to `digits` significant bits, and to no finer unit than 2^finest. */
static double rounded(double value, int digits, int finest) {
    int exponent;
    if (value == 0 || !isfinite(value)) return value;
    frexp(value, &exponent);
    double unit = ldexp(1, exponent - digits > finest ? exponent - digits : finest);
    return rint(value / unit) * unit;
}

/* Sign, `exponents` bits of exponent, `fractions` bits of fraction; formats of 16 bits have infinities. */
static double decoded(uint32_t bits, int exponents, int fractions) {
    int top = (1 << exponents) - 1, bias = top >> 1;
    int exponent = (int)(bits >> fractions) & top;
    double fraction = (double)(bits & ((1u << fractions) - 1)) / (1 << fractions);
    double value = exponent ? ldexp(1 + fraction, exponent - bias) : ldexp(fraction, 1 - bias);
    if (exponents + fractions == 15 && exponent == top) value = fraction ? NAN : INFINITY;
    return bits >> (exponents + fractions) & 1 ? -value : value;
}

static double decoded_e4m3(uint8_t bits) { return (bits & 0x7f) == 0x7f ? NAN : decoded(bits, 4, 3); }

static uint16_t encoded(double value, int exponents, int fractions) {
    int top = (1 << exponents) - 1, bias = top >> 1, exponent;
    int sign = signbit(value) ? 1 << 15 : 0;
    if (isnan(value)) return 0x7fff;
    value = rounded(fabs(value), fractions + 1, 1 - bias - fractions);
    if (value >= ldexp(1, bias + 1)) return (uint16_t)(sign | top << fractions);
    if (value < ldexp(1, 1 - bias)) return (uint16_t)(sign | (int)ldexp(value, bias - 1 + fractions));
    frexp(value, &exponent);
    return (uint16_t)(sign | (exponent - 1 + bias) << fractions
                      | ((int)ldexp(value, fractions + 1 - exponent) - (1 << fractions)));
}

static double loaded(const void *from, int type, size_t at) {
    switch (type) {
    case F64: return ((const double *)from)[at];
    case F32: return ((const float *)from)[at];
    case F16: return decoded(((const uint16_t *)from)[at], 5, 10);
    case BF16: return decoded(((const uint16_t *)from)[at], 8, 7);
    case I8: return ((const int8_t *)from)[at];
    case I32: return ((const int32_t *)from)[at];
    case E4M3: return decoded_e4m3(((const uint8_t *)from)[at]);
    default: return decoded(((const uint8_t *)from)[at / 2] >> (at % 2 ? 4 : 0) & 0xf, 2, 1);
    }
}

static void stored(void *to, int type, size_t at, double value) {
    switch (type) {
    case F64: ((double *)to)[at] = value; break;
    case F32: ((float *)to)[at] = (float)value; break;
    case F16: ((uint16_t *)to)[at] = encoded(value, 5, 10); break;
    case BF16: ((uint16_t *)to)[at] = encoded(value, 8, 7); break;
    default: ((int32_t *)to)[at] = (int32_t)value;
    }
}

/* The scale of block `block` of 16 numbers in row `row`: tiles of 128 rows by 4 blocks, 512 bytes each, in which
   row r lies at 16·(r mod 32) + 4·(r div 32); a row's tiles follow one another. The sign bit is not used. */
static double block_scale(const uint8_t *scales, uint64_t row, uint64_t block, uint64_t k) {
    uint64_t tiles = (k / 16 + 3) / 4, tile = row / 128 * tiles + block / 4, inside = row % 128;
    return decoded_e4m3(scales[512 * tile + 16 * (inside % 32) + 4 * (inside / 32) + block % 4] & 0x7f);
}

/* --- the product -------------------------------------------------------------------------------------------- */

typedef struct { const Descriptor *how; const Layout *a, *b, *c, *d; uint64_t m, n, k; int product; } Problem;

static uint64_t extent(const Layout *layout, int transposed, int second) {
    return transposed != second ? layout->columns : layout->rows;
}

static int has_room(const Layout *layout) { return layout->ld >= 0 && (uint64_t)layout->ld >= layout->rows; }

static int scales_fit(const Descriptor *how, int operand) {
    int mode = operand == E2M1 ? VEC16_UE4M3 : SCALAR_32F;
    REQUIRE(how->mode_a == mode && how->mode_b == mode, NOT_SUPPORTED);
    REQUIRE(operand != E2M1 || (how->scale_a && how->scale_b), INVALID_VALUE);
    REQUIRE(operand == E2M1 || operand == E4M3 || (!how->scale_a && !how->scale_b), INVALID_VALUE);
    return how->fast && operand != E4M3 ? NOT_SUPPORTED : SUCCESS;
}

static int find_product(Problem *problem) {
    for (int i = 0; i < PRODUCT_COUNT; i++) {
        int matrices = PRODUCTS[i].operand == problem->a->type && PRODUCTS[i].operand == problem->b->type &&
                       PRODUCTS[i].result == problem->c->type && PRODUCTS[i].result == problem->d->type;
        problem->product = i;
        if (matrices && PRODUCTS[i].compute == problem->how->compute && PRODUCTS[i].scale == problem->how->scale)
            return SUCCESS;
    }
    return NOT_SUPPORTED;
}

static int pose(Problem *problem, const Descriptor *how, const Layout *a, const Layout *b, const Layout *c,
                const Layout *d) {
    REQUIRE(how && how->kind == DESCRIPTOR, INVALID_VALUE);
    REQUIRE(a && b && c && d, INVALID_VALUE);
    REQUIRE(a->kind == LAYOUT && b->kind == LAYOUT && c->kind == LAYOUT && d->kind == LAYOUT, INVALID_VALUE);
    REQUIRE(has_room(a) && has_room(b) && has_room(c) && has_room(d), INVALID_VALUE);
    *problem = (Problem){how, a, b, c, d, extent(a, how->transa, 0), extent(b, how->transb, 1),
                         extent(a, how->transa, 1), 0};
    REQUIRE(extent(b, how->transb, 0) == problem->k, INVALID_VALUE);
    REQUIRE(c->rows == problem->m && c->columns == problem->n, INVALID_VALUE);
    REQUIRE(d->rows == problem->m && d->columns == problem->n, INVALID_VALUE);
    int status = find_product(problem);
    REQUIRE(!status, status);
    int i = problem->product;
    REQUIRE(!PRODUCTS[i].narrow || (how->transa && !how->transb), NOT_SUPPORTED);
    REQUIRE(problem->m % (uint64_t)PRODUCTS[i].m == 0 && problem->n % (uint64_t)PRODUCTS[i].n == 0, NOT_SUPPORTED);
    REQUIRE(problem->k % (uint64_t)PRODUCTS[i].k == 0, NOT_SUPPORTED);
    return scales_fit(how, a->type);
}

/* One operand as `lines` lines of k numbers each: A's rows, B's columns. */
static double *gathered(const Problem *problem, const Layout *layout, const void *from, uint64_t lines,
                        int along_columns, const void *scale, int mode) {
    double *values = malloc(sizeof *values * (size_t)(lines * problem->k));
    for (uint64_t line = 0; values && line < lines; line++)
        for (uint64_t l = 0; l < problem->k; l++) {
            uint64_t at = along_columns ? l + line * (uint64_t)layout->ld : line + l * (uint64_t)layout->ld;
            double value = loaded(from, layout->type, (size_t)at);
            if (problem->how->compute == IN_TF32) value = rounded(value, 11, -149);
            if (mode == VEC16_UE4M3) value *= block_scale(scale, line, l / 16, problem->k);
            values[line * problem->k + l] = value;
        }
    return values;
}

static double summed(const double *a, const double *b, uint64_t k, const Descriptor *how) {
    double sum = 0;
    for (uint64_t l = 0; l < k; l++) {
        sum += a[l] * b[l];
        if (how->compute == IN_F16) sum = rounded(sum, 11, -24);
        else if (how->fast) sum = rounded(sum, 10, -149);
        else if (how->compute == IN_F32 || how->compute == IN_TF32) sum = (float)sum;
    }
    return sum;
}

static double scalar_scale(const void *scale, int mode) {
    return scale && mode == SCALAR_32F ? *(const float *)scale : 1;
}

static int multiply(const Problem *problem, double alpha, const void *a, const void *b, double beta, const void *c,
                    void *d) {
    const Descriptor *how = problem->how;
    double *left = gathered(problem, problem->a, a, problem->m, how->transa != 0, how->scale_a, how->mode_a);
    double *right = gathered(problem, problem->b, b, problem->n, how->transb == 0, how->scale_b, how->mode_b);
    double scale = alpha * scalar_scale(how->scale_a, how->mode_a) * scalar_scale(how->scale_b, how->mode_b);
    for (uint64_t j = 0; left && right && j < problem->n; j++)
        for (uint64_t i = 0; i < problem->m; i++) {
            double sum = summed(left + i * problem->k, right + j * problem->k, problem->k, how) * scale;
            if (beta != 0) sum += beta * loaded(c, problem->c->type, (size_t)(i + j * (uint64_t)problem->c->ld));
            stored(d, problem->d->type, (size_t)(i + j * (uint64_t)problem->d->ld), sum);
        }
    int status = left && right ? SUCCESS : ALLOC_FAILED;
    free(left);
    free(right);
    return status;
}

/* --- the interface ------------------------------------------------------------------------------------------ */

size_t cublasLtGetVersion(void) { return 130100; }

const char *cublasLtGetStatusName(int status) {
    switch (status) {
    case SUCCESS: return "CUBLAS_STATUS_SUCCESS";
    case NOT_INITIALIZED: return "CUBLAS_STATUS_NOT_INITIALIZED";
    case ALLOC_FAILED: return "CUBLAS_STATUS_ALLOC_FAILED";
    case INVALID_VALUE: return "CUBLAS_STATUS_INVALID_VALUE";
    case 13: return "CUBLAS_STATUS_EXECUTION_FAILED";
    case NOT_SUPPORTED: return "CUBLAS_STATUS_NOT_SUPPORTED";
    default: return "unrecognized status";
    }
}
const char *cublasLtGetStatusString(int status) { return cublasLtGetStatusName(status); }

static int made(void **to, const void *object, size_t size) {
    *to = malloc(size);
    REQUIRE(*to, ALLOC_FAILED);
    memcpy(*to, object, size);
    live++;
    return SUCCESS;
}

static int destroyed(int *object, int kind) {
    if (!object) return SUCCESS;
    REQUIRE(*object == kind, INVALID_VALUE);
    *object = 0;
    free(object);
    live--;
    return SUCCESS;
}

int cublasLtCreate(void **handle) {
    FAIL_IF_DOOMED();
    Handle object = {HANDLE};
    return made(handle, &object, sizeof object);
}
int cublasLtDestroy(void *handle) { return destroyed(handle, HANDLE); }

int cublasLtMatmulDescCreate(void **descriptor, int compute, int scale) {
    FAIL_IF_DOOMED();
    Descriptor object = {.kind = DESCRIPTOR, .compute = compute, .scale = scale};
    return made(descriptor, &object, sizeof object);
}
int cublasLtMatmulDescDestroy(void *descriptor) { return destroyed(descriptor, DESCRIPTOR); }

int cublasLtMatmulDescSetAttribute(void *descriptor, int attribute, const void *value, size_t size) {
    static const struct { int attribute; size_t offset, size; } KNOWN[] = {
        {3, offsetof(Descriptor, transa), 4},  {4, offsetof(Descriptor, transb), 4},
        {17, offsetof(Descriptor, scale_a), 8}, {18, offsetof(Descriptor, scale_b), 8},
        {25, offsetof(Descriptor, fast), 1},   {31, offsetof(Descriptor, mode_a), 4},
        {32, offsetof(Descriptor, mode_b), 4},
    };
    FAIL_IF_DOOMED();
    REQUIRE(descriptor && ((Descriptor *)descriptor)->kind == DESCRIPTOR && value, INVALID_VALUE);
    for (size_t i = 0; i < sizeof KNOWN / sizeof *KNOWN; i++)
        if (KNOWN[i].attribute == attribute && KNOWN[i].size == size) {
            memcpy((char *)descriptor + KNOWN[i].offset, value, size);
            return SUCCESS;
        }
    return INVALID_VALUE;
}

int cublasLtMatrixLayoutCreate(void **layout, int type, uint64_t rows, uint64_t columns, int64_t ld) {
    FAIL_IF_DOOMED();
    Layout object = {LAYOUT, type, rows, columns, ld};
    return made(layout, &object, sizeof object);
}
int cublasLtMatrixLayoutDestroy(void *layout) { return destroyed(layout, LAYOUT); }

int cublasLtMatmulPreferenceCreate(void **preference) {
    FAIL_IF_DOOMED();
    Preference object = {PREFERENCE, 0};
    return made(preference, &object, sizeof object);
}
int cublasLtMatmulPreferenceDestroy(void *preference) { return destroyed(preference, PREFERENCE); }

int cublasLtMatmulPreferenceSetAttribute(void *preference, int attribute, const void *value, size_t size) {
    FAIL_IF_DOOMED();
    REQUIRE(preference && ((Preference *)preference)->kind == PREFERENCE && value, INVALID_VALUE);
    REQUIRE(attribute == 1 && size == 8, INVALID_VALUE);
    memcpy(&((Preference *)preference)->workspace, value, size);
    return SUCCESS;
}

int cublasLtMatmulAlgoGetHeuristic(void *handle, void *descriptor, void *a, void *b, void *c, void *d,
                                   void *preference, int wanted, Result *results, int *count) {
    Problem problem;
    FAIL_IF_DOOMED();
    REQUIRE(handle && ((Handle *)handle)->kind == HANDLE, NOT_INITIALIZED);
    REQUIRE(preference && ((Preference *)preference)->kind == PREFERENCE, INVALID_VALUE);
    REQUIRE(wanted > 0 && results && count, INVALID_VALUE);
    int status = pose(&problem, descriptor, a, b, c, d);
    *count = 0;
    for (int i = 0; !status && i < OFFERS && *count < wanted; i++) {
        if (OFFERED[i].workspace > ((Preference *)preference)->workspace) continue;
        results[(*count)++] = (Result){{ALGORITHM, (uint64_t)i, {0}}, OFFERED[i].workspace, OFFERED[i].state,
                                       OFFERED[i].waves, {0}};
    }
    return status;
}

static int known(const Algorithm *algorithm) {
    return algorithm && algorithm->kind == ALGORITHM && algorithm->index < OFFERS;
}

int cublasLtMatmulAlgoConfigGetAttribute(const Algorithm *algorithm, int attribute, void *value, size_t size,
                                         size_t *written) {
    FAIL_IF_DOOMED();
    REQUIRE(known(algorithm) && attribute >= 0 && attribute <= 8, INVALID_VALUE);
    REQUIRE(size == (attribute < 7 ? 4 : 2), INVALID_VALUE);
    uint32_t wide = OFFERED[algorithm->index].config[attribute];
    uint16_t narrow = (uint16_t)wide;
    memcpy(value, size == 4 ? (void *)&wide : (void *)&narrow, size);
    if (written) *written = size;
    return SUCCESS;
}

int cublasLtMatmul(void *handle, void *descriptor, const void *alpha, const void *a, void *layout_a, const void *b,
                   void *layout_b, const void *beta, const void *c, void *layout_c, void *d, void *layout_d,
                   const Algorithm *algorithm, void *workspace, size_t size, void *stream) {
    Problem problem;
    FAIL_IF_DOOMED();
    REQUIRE(handle && ((Handle *)handle)->kind == HANDLE, NOT_INITIALIZED);
    REQUIRE(alpha && beta && a && b && d && known(algorithm), INVALID_VALUE);
    int status = pose(&problem, descriptor, layout_a, layout_b, layout_c, layout_d);
    REQUIRE(!status, status);
    REQUIRE(OFFERED[algorithm->index].state == SUCCESS, NOT_SUPPORTED);
    REQUIRE(OFFERED[algorithm->index].workspace <= (workspace ? size : 0), INVALID_VALUE);
    last.algo = (int)OFFERED[algorithm->index].config[0];
    last.stream = stream;
    last.workspace = workspace;
    int scale = problem.how->scale;
    return multiply(&problem, loaded(alpha, scale, 0), a, b, loaded(beta, scale, 0), c, d);
}
