// instances.c
/*  */
#include "instances.h"

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

static const double table_0[2] = {
    -8.0, 0.0,
};

/* inner */
typedef struct {
    int8_t s8[3][LANES];
} body_0_work;

static LUTC_PART void body_0_0(body_0_work *w)
{
    int i = 0;
    (void)i;
    LUTC_APART for (i = 0; i < LANES; i++) w->s8[2][i] = (int8_t)(w->s8[0][i] - w->s8[1][i]);
}

static void body_0(body_0_work *w)
{
    body_0_0(w);
}

/* kernel */
typedef struct {
    int16_t s16[1][LANES];
    int8_t s8[4][LANES];
    body_0_work body_0;
} body_1_work;

static LUTC_PART void body_1_0(body_1_work *w)
{
    int i = 0;
    (void)i;
    { int g; body_0_work *o = &w->body_0; for (g = 0; g < 1; g++) {
        memcpy(o->s8[0], w->s8[0], sizeof w->s8[0]);
        memcpy(o->s8[1], w->s8[1], sizeof w->s8[0]);
        body_0(o);
        memcpy(w->s8[3], o->s8[2], sizeof w->s8[0]);
    } }
    LUTC_APART for (i = 0; i < LANES; i++) w->s16[0][i] = (int16_t)(w->s8[3][i] * w->s8[2][i]);
}

static void body_1(body_1_work *w)
{
    body_1_0(w);
}

/* instances */
typedef struct {
    int16_t s16[2][LANES];
    int8_t s8[5][LANES];
    body_1_work body_1;
} body_2_work;

static LUTC_PART void body_2_0(body_2_work *w)
{
    int i = 0;
    (void)i;
    LUTC_APART for (i = 0; i < LANES; i++) w->s8[4][i] = (int8_t)(-3);
    { int g; body_1_work *o = &w->body_1; for (g = 0; g < 1; g++) {
        memcpy(o->s8[0], w->s8[0], sizeof w->s8[0]);
        memcpy(o->s8[1], w->s8[1], sizeof w->s8[0]);
        memcpy(o->s8[2], w->s8[4], sizeof w->s8[0]);
        body_1(o);
        memcpy(w->s16[0], o->s16[0], sizeof w->s16[0]);
    } }
    LUTC_APART for (i = 0; i < LANES; i++) w->s8[4][i] = (int8_t)(-3);
    { int g; body_1_work *o = &w->body_1; for (g = 0; g < 1; g++) {
        memcpy(o->s8[0], w->s8[2], sizeof w->s8[0]);
        memcpy(o->s8[1], w->s8[3], sizeof w->s8[0]);
        memcpy(o->s8[2], w->s8[4], sizeof w->s8[0]);
        body_1(o);
        memcpy(w->s16[1], o->s16[0], sizeof w->s16[0]);
    } }
}

static void body_2(body_2_work *w)
{
    body_2_0(w);
}

#ifdef __cplusplus
extern "C" {
#endif

int instances_codes(size_t n, const int64_t *in0, const int64_t *in1, int64_t *out0)
{
    body_2_work own, *w = &own;
    size_t first;
    memset(w, 0, sizeof *w);
    for (first = 0; first < n; first += LANES) {
        const int count = n - first < LANES ? (int)(n - first) : LANES;
        int i;
        for (i = 0; i < count; i++) w->s8[0][i] = (int8_t)((int64_t)(((uint64_t)in0[(first + (size_t)i) * 2 + 0] & UINT64_C(15)) ^ UINT64_C(8)) - INT64_C(8));
        for (i = 0; i < count; i++) w->s8[1][i] = (int8_t)((uint64_t)in0[(first + (size_t)i) * 2 + 1] & UINT64_C(7));
        for (i = 0; i < count; i++) w->s8[2][i] = (int8_t)((int64_t)(((uint64_t)in1[(first + (size_t)i) * 2 + 0] & UINT64_C(15)) ^ UINT64_C(8)) - INT64_C(8));
        for (i = 0; i < count; i++) w->s8[3][i] = (int8_t)((uint64_t)in1[(first + (size_t)i) * 2 + 1] & UINT64_C(7));
        body_2(w);
        for (i = 0; i < count; i++) out0[(first + (size_t)i) * 2 + 0] = w->s16[0][i];
        for (i = 0; i < count; i++) out0[(first + (size_t)i) * 2 + 1] = w->s16[1][i];
    }
    return 0;
}

int instances_reals(size_t n, const double *in0, const double *in1, double *out0)
{
    body_2_work own, *w = &own;
    size_t first;
    int bad = 0;
    memset(w, 0, sizeof *w);
    for (first = 0; first < n; first += LANES) {
        const int count = n - first < LANES ? (int)(n - first) : LANES;
        int i;
        {   static const double none[2] = {0};
            double z[2];
            int16_t u[LANES * 2];
            int e;
            memcpy(z, none, sizeof z);
            if (count < LANES) memset(u, 0, sizeof u);
            for (i = 0; i < count; i++) LUTC_APART for (e = 0; e < 2; e++) {
                const double x = in0[(first + (size_t)i) * 2 + (size_t)e];
                const double s = x;
                const double r = rint(s);
                z[e] += x - x; /* no number, once one is not finite */
                const double h = r < 7.0 ? r : 7.0;
                u[i * 2 + e] = (int16_t)(int32_t)(h > table_0[e] ? h : table_0[e]);
            }
            for (e = 0; e < 2; e++) bad |= z[e] != 0.0;
            for (i = 0; i < LANES; i++) {
                w->s8[0][i] = (int8_t)u[i * 2 + 0];
                w->s8[1][i] = (int8_t)u[i * 2 + 1];
            }
        }
        {   static const double none[2] = {0};
            double z[2];
            int16_t u[LANES * 2];
            int e;
            memcpy(z, none, sizeof z);
            if (count < LANES) memset(u, 0, sizeof u);
            for (i = 0; i < count; i++) LUTC_APART for (e = 0; e < 2; e++) {
                const double x = in1[(first + (size_t)i) * 2 + (size_t)e];
                const double s = x;
                const double r = rint(s);
                z[e] += x - x; /* no number, once one is not finite */
                const double h = r < 7.0 ? r : 7.0;
                u[i * 2 + e] = (int16_t)(int32_t)(h > table_0[e] ? h : table_0[e]);
            }
            for (e = 0; e < 2; e++) bad |= z[e] != 0.0;
            for (i = 0; i < LANES; i++) {
                w->s8[2][i] = (int8_t)u[i * 2 + 0];
                w->s8[3][i] = (int8_t)u[i * 2 + 1];
            }
        }
        body_2(w);
        {   int16_t u[LANES * 2];
            const size_t all = (size_t)count * 2;
            size_t e;
            for (i = 0; i < LANES; i++) {
                u[i * 2 + 0] = (int16_t)w->s16[0][i];
                u[i * 2 + 1] = (int16_t)w->s16[1][i];
            }
            for (e = 0; e < all; e++) out0[first * 2 + e] = u[e] * 1.0;
        }
    }
    return bad;
}


#ifdef __cplusplus
}
#endif

// instances.h
/*  */
/*
 * instances: n samples at a time; arrays hold one sample after the other.
 *
 * in0: x, <s4, u3>[2]; nearest-half-even, saturate
 * in1: z, <s4, u3>[2]; nearest-half-even, saturate
 * out0: y, s9[2]
 *
 * s8f4 is a signed format of 8 bits, 4 of them behind the point: a code c stands for c / 16.
 * instances_codes takes and gives codes; those of more than 63 bits are two's complement in several words,
 * the lowest first. Codes outside of their format lose their high bits.
 * instances_reals rounds doubles into the formats by the ports' rules. It gives 1, and its answers mean
 * nothing, if a number is not finite, or so large that what wraps around is no double; 0 else.
 * Both may run in several threads at once. They give -1 if there is no memory.
 */
#ifndef LUTC_INSTANCES_H
#define LUTC_INSTANCES_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

int instances_codes(size_t n, const int64_t *in0, const int64_t *in1, int64_t *out0);
int instances_reals(size_t n, const double *in0, const double *in1, double *out0);

#ifdef __cplusplus
}
#endif

#endif
