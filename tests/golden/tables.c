// tables.c
/*  */
#include "tables.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#if (-1 >> 1) != -1
#error "this model needs a compiler that shifts negative numbers arithmetically, as all usual ones do"
#endif

#define LANES 64 /* samples that are computed at once */

/* Rows that a loop reads and writes are apart, or the same element by element. */
#if defined(__clang__)
#define LUTC_APART _Pragma("clang loop vectorize(assume_safety)")
#define LUTC_PART __attribute__((noinline))
#elif defined(__GNUC__)
#define LUTC_APART _Pragma("GCC ivdep")
#define LUTC_PART __attribute__((noinline))
#else
#define LUTC_APART
#define LUTC_PART
#endif
#if defined(__AVX512VBMI__) && defined(__AVX512BW__) && LANES == 64
#include <immintrin.h>
static inline void look8(uint8_t *y, const uint8_t *x, const uint8_t *table, int entries)
{
    const __m512i key = _mm512_loadu_si512(x), low = _mm512_loadu_si512(table);
    __m512i r;
    if (entries == 64) {
        r = _mm512_maskz_permutexvar_epi8(~(__mmask64)0, key, low);
    } else {
        r = _mm512_permutex2var_epi8(low, key, _mm512_loadu_si512(table + 64));
        if (entries > 128) {
            const __m512i more = _mm512_permutex2var_epi8(
                _mm512_loadu_si512(table + 128), key, _mm512_loadu_si512(table + 192));
            r = _mm512_mask_blend_epi8(_mm512_movepi8_mask(key), r, more);
        }
    }
    _mm512_storeu_si512(y, r);
}
static inline void look16(uint8_t *y, const uint16_t *x, const uint8_t *table, int entries)
{
    uint8_t keys[LANES], pages[LANES];
    __m512i key, page, r;
    int i, n;
    for (i = 0; i < LANES; i++) {
        keys[i] = (uint8_t)x[i];
        pages[i] = (uint8_t)((x[i] & (entries - 1)) >> 7);
    }
    key = _mm512_loadu_si512(keys);
    page = _mm512_loadu_si512(pages);
    if (entries == 64) {
        r = _mm512_maskz_permutexvar_epi8(~(__mmask64)0, key, _mm512_loadu_si512(table));
    } else {
        r = _mm512_permutex2var_epi8(_mm512_loadu_si512(table), key, _mm512_loadu_si512(table + 64));
        for (n = 1; n < entries / 128; n++) {
            const __m512i more = _mm512_permutex2var_epi8(
                _mm512_loadu_si512(table + 128 * n), key, _mm512_loadu_si512(table + 128 * n + 64));
            r = _mm512_mask_mov_epi8(r, _mm512_cmpeq_epi8_mask(page, _mm512_set1_epi8((char)n)), more);
        }
    }
    _mm512_storeu_si512(y, r);
}
#else
static inline void look8(uint8_t *y, const uint8_t *x, const uint8_t *table, int entries)
{
    int i;
    for (i = 0; i < LANES; i++) y[i] = table[x[i] & (entries - 1)];
}
static inline void look16(uint8_t *y, const uint16_t *x, const uint8_t *table, int entries)
{
    int i;
    for (i = 0; i < LANES; i++) y[i] = table[x[i] & (entries - 1)];
}
#endif

static const uint8_t table_0[64] = {
    3, 252, 0, 7, 248, 1, 5, 254, 3, 252, 0, 7, 248, 1, 5, 254, 3, 252, 0, 7, 248, 1, 5, 254, 3, 252,
    0, 7, 248, 1, 5, 254, 3, 252, 0, 7, 248, 1, 5, 254, 3, 252, 0, 7, 248, 1, 5, 254, 3, 252, 0, 7,
    248, 1, 5, 254, 3, 252, 0, 7, 248, 1, 5, 254,
};
static const uint8_t table_1[512] = {
    0, 3, 6, 9, 13, 1, 5, 10, 15, 3, 8, 14, 3, 9, 15, 5, 12, 2, 9, 0, 7, 15, 6, 14, 7, 15, 7, 0, 9, 2,
    12, 6, 0, 10, 4, 14, 9, 4, 15, 11, 7, 2, 14, 11, 7, 4, 1, 14, 12, 9, 7, 5, 3, 2, 0, 15, 15, 14,
    13, 13, 13, 13, 14, 15, 0, 1, 2, 3, 5, 7, 9, 12, 15, 1, 4, 8, 11, 15, 3, 7, 12, 0, 5, 10, 15, 5,
    10, 0, 7, 13, 3, 10, 1, 8, 0, 8, 0, 8, 0, 8, 1, 10, 3, 13, 7, 0, 10, 5, 15, 10, 5, 0, 12, 7, 3,
    15, 11, 8, 4, 1, 15, 12, 9, 7, 5, 3, 2, 1, 0, 15, 14, 13, 13, 13, 13, 14, 15, 15, 0, 2, 3, 5, 7,
    9, 12, 14, 1, 4, 7, 11, 14, 2, 7, 11, 15, 4, 9, 14, 4, 10, 0, 6, 12, 2, 9, 0, 7, 15, 7, 14, 6, 15,
    7, 0, 9, 2, 12, 5, 15, 9, 3, 14, 8, 3, 15, 10, 5, 1, 13, 9, 6, 3, 0, 13, 10, 7, 5, 3, 1, 0, 15,
    13, 12, 12, 11, 11, 11, 11, 12, 12, 13, 14, 15, 1, 2, 4, 7, 9, 11, 14, 1, 4, 8, 12, 0, 4, 8, 12,
    1, 6, 11, 1, 7, 12, 2, 9, 15, 6, 13, 4, 12, 3, 11, 3, 11, 4, 12, 5, 15, 8, 1, 11, 5, 15, 10, 5, 0,
    11, 6, 1, 13, 9, 5, 2, 15, 11, 8, 6, 3, 1, 15, 13, 12, 10, 9, 8, 7, 7, 6, 6, 7, 7, 7, 8, 9, 10,
    12, 14, 0, 2, 4, 6, 9, 12, 15, 3, 7, 10, 14, 3, 7, 12, 1, 6, 12, 1, 7, 13, 3, 10, 0, 7, 15, 6, 13,
    5, 13, 5, 14, 7, 0, 9, 2, 11, 5, 15, 9, 4, 15, 9, 4, 0, 11, 7, 3, 15, 12, 8, 5, 2, 15, 13, 10, 8,
    7, 5, 3, 2, 1, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 5, 7, 8, 10, 13, 15, 2, 5, 8, 12, 15, 3, 7, 11, 0, 4,
    9, 15, 4, 9, 15, 5, 11, 2, 9, 0, 7, 14, 5, 13, 5, 13, 6, 15, 7, 0, 10, 3, 13, 7, 1, 12, 6, 1, 12,
    7, 3, 14, 10, 7, 3, 15, 12, 9, 6, 4, 2, 0, 14, 12, 10, 9, 8, 7, 7, 7, 6, 6, 7, 7, 8, 9, 10, 12,
    13, 15, 1, 3, 6, 8, 11, 15, 2, 5, 9, 13, 1, 6, 11, 0, 5, 10, 15, 5, 11, 1, 8, 15, 5, 12, 4, 11, 3,
    11, 3, 12, 4, 13, 6, 15, 9, 2, 12, 7, 1, 11, 6, 1, 12, 8, 4, 0, 12, 8, 4, 1, 14, 11, 9, 7, 4, 2,
    1, 15, 14, 13, 12, 12, 11, 11, 11, 11, 12, 12, 13, 15, 0, 1, 3, 5, 7, 10, 13,
};
static const uint8_t table_2[64] = {
    0, 1, 1, 0, 1, 0, 0, 1, 0, 1, 1, 0, 1, 0, 0, 1, 0, 1, 1, 0, 1, 0, 0, 1, 0, 1, 1, 0, 1, 0, 0, 1, 0,
    1, 1, 0, 1, 0, 0, 1, 0, 1, 1, 0, 1, 0, 0, 1, 0, 1, 1, 0, 1, 0, 0, 1, 0, 1, 1, 0, 1, 0, 0, 1,
};

/* tables */
typedef struct {
    int16_t s16[1][LANES];
    int8_t s8[8][LANES];
} body_0_work;

static LUTC_PART void body_0_0(body_0_work *w)
{
    int i = 0;
    (void)i;
    look8((uint8_t *)w->s8[3], (const uint8_t *)w->s8[0], table_0, 64);
    look8((uint8_t *)w->s8[4], (const uint8_t *)w->s8[1], table_0, 64);
    look16((uint8_t *)w->s8[5], (const uint16_t *)w->s16[0], table_1, 512);
    look8((uint8_t *)w->s8[6], (const uint8_t *)w->s8[2], table_2, 64);
    LUTC_APART for (i = 0; i < LANES; i++) w->s8[7][i] = (int8_t)(w->s8[3][i] + w->s8[5][i]);
}

static void body_0(body_0_work *w)
{
    body_0_0(w);
}

#ifdef __cplusplus
extern "C" {
#endif

int tables_codes(size_t n, const int64_t *in0, const int64_t *in1, const int64_t *in2, const int64_t *in3, int64_t *out0, int64_t *out1, int64_t *out2, int64_t *out3, int64_t *out4)
{
    body_0_work own, *w = &own;
    size_t first;
    memset(w, 0, sizeof *w);
    for (first = 0; first < n; first += LANES) {
        const int count = n - first < LANES ? (int)(n - first) : LANES;
        int i;
        for (i = 0; i < count; i++) w->s8[0][i] = (int8_t)((int64_t)(((uint64_t)in0[(first + (size_t)i) * 1 + 0] & UINT64_C(7)) ^ UINT64_C(4)) - INT64_C(4));
        for (i = 0; i < count; i++) w->s8[1][i] = (int8_t)((int64_t)(((uint64_t)in1[(first + (size_t)i) * 1 + 0] & UINT64_C(7)) ^ UINT64_C(4)) - INT64_C(4));
        for (i = 0; i < count; i++) w->s16[0][i] = (int16_t)((uint64_t)in2[(first + (size_t)i) * 1 + 0] & UINT64_C(511));
        for (i = 0; i < count; i++) w->s8[2][i] = (int8_t)((uint64_t)in3[(first + (size_t)i) * 1 + 0] & UINT64_C(7));
        body_0(w);
        for (i = 0; i < count; i++) out0[(first + (size_t)i) * 1 + 0] = w->s8[3][i];
        for (i = 0; i < count; i++) out1[(first + (size_t)i) * 1 + 0] = w->s8[4][i];
        for (i = 0; i < count; i++) out2[(first + (size_t)i) * 1 + 0] = w->s8[5][i];
        for (i = 0; i < count; i++) out3[(first + (size_t)i) * 1 + 0] = w->s8[6][i];
        for (i = 0; i < count; i++) out4[(first + (size_t)i) * 1 + 0] = w->s8[7][i];
    }
    return 0;
}

int tables_reals(size_t n, const double *in0, const double *in1, const double *in2, const double *in3, double *out0, double *out1, double *out2, double *out3, double *out4)
{
    body_0_work own, *w = &own;
    size_t first;
    int bad = 0;
    memset(w, 0, sizeof *w);
    for (first = 0; first < n; first += LANES) {
        const int count = n - first < LANES ? (int)(n - first) : LANES;
        int i;
        {   static const double none[1] = {0};
            double z[1];
            int16_t u[LANES * 1];
            int e;
            memcpy(z, none, sizeof z);
            if (count < LANES) memset(u, 0, sizeof u);
            for (i = 0; i < count; i++) LUTC_APART for (e = 0; e < 1; e++) {
                const double x = in0[(first + (size_t)i) * 1 + (size_t)e];
                const double s = x;
                const double r = rint(s);
                z[e] += x - x; /* no number, once one is not finite */
                const double h = r < 3.0 ? r : 3.0;
                u[i * 1 + e] = (int16_t)(int32_t)(h > -4.0 ? h : -4.0);
            }
            for (e = 0; e < 1; e++) bad |= z[e] != 0.0;
            for (i = 0; i < LANES; i++) {
                w->s8[0][i] = (int8_t)u[i * 1 + 0];
            }
        }
        {   static const double none[1] = {0};
            double z[1];
            int16_t u[LANES * 1];
            int e;
            memcpy(z, none, sizeof z);
            if (count < LANES) memset(u, 0, sizeof u);
            for (i = 0; i < count; i++) LUTC_APART for (e = 0; e < 1; e++) {
                const double x = in1[(first + (size_t)i) * 1 + (size_t)e];
                const double s = x;
                const double r = rint(s);
                z[e] += x - x; /* no number, once one is not finite */
                const double h = r < 3.0 ? r : 3.0;
                u[i * 1 + e] = (int16_t)(int32_t)(h > -4.0 ? h : -4.0);
            }
            for (e = 0; e < 1; e++) bad |= z[e] != 0.0;
            for (i = 0; i < LANES; i++) {
                w->s8[1][i] = (int8_t)u[i * 1 + 0];
            }
        }
        {   static const double none[1] = {0};
            double z[1];
            int16_t u[LANES * 1];
            int e;
            memcpy(z, none, sizeof z);
            if (count < LANES) memset(u, 0, sizeof u);
            for (i = 0; i < count; i++) LUTC_APART for (e = 0; e < 1; e++) {
                const double x = in2[(first + (size_t)i) * 1 + (size_t)e];
                const double s = x;
                const double r = rint(s);
                z[e] += x - x; /* no number, once one is not finite */
                const double h = r < 511.0 ? r : 511.0;
                u[i * 1 + e] = (int16_t)(int32_t)(h > 0.0 ? h : 0.0);
            }
            for (e = 0; e < 1; e++) bad |= z[e] != 0.0;
            for (i = 0; i < LANES; i++) {
                w->s16[0][i] = (int16_t)u[i * 1 + 0];
            }
        }
        {   static const double none[1] = {0};
            double z[1];
            int16_t u[LANES * 1];
            int e;
            memcpy(z, none, sizeof z);
            if (count < LANES) memset(u, 0, sizeof u);
            for (i = 0; i < count; i++) LUTC_APART for (e = 0; e < 1; e++) {
                const double x = in3[(first + (size_t)i) * 1 + (size_t)e];
                const double s = x;
                const double r = rint(s);
                z[e] += x - x; /* no number, once one is not finite */
                const double h = r < 7.0 ? r : 7.0;
                u[i * 1 + e] = (int16_t)(int32_t)(h > 0.0 ? h : 0.0);
            }
            for (e = 0; e < 1; e++) bad |= z[e] != 0.0;
            for (i = 0; i < LANES; i++) {
                w->s8[2][i] = (int8_t)u[i * 1 + 0];
            }
        }
        body_0(w);
        {   int16_t u[LANES * 1];
            const size_t all = (size_t)count * 1;
            size_t e;
            for (i = 0; i < LANES; i++) {
                u[i * 1 + 0] = (int16_t)w->s8[3][i];
            }
            for (e = 0; e < all; e++) out0[first * 1 + e] = u[e] * 1.0;
        }
        {   int16_t u[LANES * 1];
            const size_t all = (size_t)count * 1;
            size_t e;
            for (i = 0; i < LANES; i++) {
                u[i * 1 + 0] = (int16_t)w->s8[4][i];
            }
            for (e = 0; e < all; e++) out1[first * 1 + e] = u[e] * 1.0;
        }
        {   int16_t u[LANES * 1];
            const size_t all = (size_t)count * 1;
            size_t e;
            for (i = 0; i < LANES; i++) {
                u[i * 1 + 0] = (int16_t)w->s8[5][i];
            }
            for (e = 0; e < all; e++) out2[first * 1 + e] = u[e] * 1.0;
        }
        {   int16_t u[LANES * 1];
            const size_t all = (size_t)count * 1;
            size_t e;
            for (i = 0; i < LANES; i++) {
                u[i * 1 + 0] = (int16_t)w->s8[6][i];
            }
            for (e = 0; e < all; e++) out3[first * 1 + e] = u[e] * 1.0;
        }
        {   int16_t u[LANES * 1];
            const size_t all = (size_t)count * 1;
            size_t e;
            for (i = 0; i < LANES; i++) {
                u[i * 1 + 0] = (int16_t)w->s8[7][i];
            }
            for (e = 0; e < all; e++) out4[first * 1 + e] = u[e] * 1.0;
        }
    }
    return bad;
}


#ifdef __cplusplus
}
#endif

// tables.h
/*  */
/*
 * tables: n samples at a time; arrays hold one sample after the other.
 *
 * in0: a, s3; nearest-half-even, saturate
 * in1: b, s3; nearest-half-even, saturate
 * in2: k, u9; nearest-half-even, saturate
 * in3: p, u3; nearest-half-even, saturate
 * out0: u, s4
 * out1: v, s4
 * out2: w, u4
 * out3: q, u1
 * out4: s, s6
 *
 * s8f4 is a signed format of 8 bits, 4 of them behind the point: a code c stands for c / 16.
 * tables_codes takes and gives codes; those of more than 63 bits are two's complement in several words,
 * the lowest first. Codes outside of their format lose their high bits.
 * tables_reals rounds doubles into the formats by the ports' rules. It gives 1, and its answers mean
 * nothing, if a number is not finite, or so large that what wraps around is no double; 0 else.
 * Both may run in several threads at once. They give -1 if there is no memory.
 */
#ifndef LUTC_TABLES_H
#define LUTC_TABLES_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

int tables_codes(size_t n, const int64_t *in0, const int64_t *in1, const int64_t *in2, const int64_t *in3, int64_t *out0, int64_t *out1, int64_t *out2, int64_t *out3, int64_t *out4);
int tables_reals(size_t n, const double *in0, const double *in1, const double *in2, const double *in3, double *out0, double *out1, double *out2, double *out3, double *out4);

#ifdef __cplusplus
}
#endif

#endif
