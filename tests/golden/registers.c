// registers.c
/*  */
#include "registers.h"

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


/* registers */
typedef struct {
    int8_t s8[3][LANES];
} body_0_work;

static LUTC_PART void body_0_0(body_0_work *w)
{
    int i = 0;
    (void)i;
    LUTC_APART for (i = 0; i < LANES; i++) w->s8[2][i] = (int8_t)(w->s8[0][i] + w->s8[1][i]);
}

static void body_0(body_0_work *w)
{
    body_0_0(w);
}

#ifdef __cplusplus
extern "C" {
#endif

int registers_codes(size_t n, const int64_t *in0, const int64_t *in1, int64_t *out0, int64_t *out1)
{
    body_0_work own, *w = &own;
    size_t first;
    memset(w, 0, sizeof *w);
    for (first = 0; first < n; first += LANES) {
        const int count = n - first < LANES ? (int)(n - first) : LANES;
        int i;
        for (i = 0; i < count; i++) w->s8[0][i] = (int8_t)((int64_t)(((uint64_t)in0[(first + (size_t)i) * 1 + 0] & UINT64_C(15)) ^ UINT64_C(8)) - INT64_C(8));
        for (i = 0; i < count; i++) w->s8[1][i] = (int8_t)((int64_t)(((uint64_t)in1[(first + (size_t)i) * 1 + 0] & UINT64_C(15)) ^ UINT64_C(8)) - INT64_C(8));
        body_0(w);
        for (i = 0; i < count; i++) out0[(first + (size_t)i) * 1 + 0] = w->s8[2][i];
        for (i = 0; i < count; i++) out1[(first + (size_t)i) * 1 + 0] = w->s8[0][i];
    }
    return 0;
}

int registers_reals(size_t n, const double *in0, const double *in1, double *out0, double *out1)
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
                const double h = r < 7.0 ? r : 7.0;
                u[i * 1 + e] = (int16_t)(int32_t)(h > -8.0 ? h : -8.0);
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
                const double h = r < 7.0 ? r : 7.0;
                u[i * 1 + e] = (int16_t)(int32_t)(h > -8.0 ? h : -8.0);
            }
            for (e = 0; e < 1; e++) bad |= z[e] != 0.0;
            for (i = 0; i < LANES; i++) {
                w->s8[1][i] = (int8_t)u[i * 1 + 0];
            }
        }
        body_0(w);
        {   int16_t u[LANES * 1];
            const size_t all = (size_t)count * 1;
            size_t e;
            for (i = 0; i < LANES; i++) {
                u[i * 1 + 0] = (int16_t)w->s8[2][i];
            }
            for (e = 0; e < all; e++) out0[first * 1 + e] = u[e] * 1.0;
        }
        {   int16_t u[LANES * 1];
            const size_t all = (size_t)count * 1;
            size_t e;
            for (i = 0; i < LANES; i++) {
                u[i * 1 + 0] = (int16_t)w->s8[0][i];
            }
            for (e = 0; e < all; e++) out1[first * 1 + e] = u[e] * 1.0;
        }
    }
    return bad;
}


#ifdef __cplusplus
}
#endif

// registers.h
/*  */
/*
 * registers: n samples at a time; arrays hold one sample after the other.
 *
 * in0: x, s4; nearest-half-even, saturate
 * in1: y, s4; nearest-half-even, saturate
 * out0: s, s5
 * out1: late, s4
 *
 * s8f4 is a signed format of 8 bits, 4 of them behind the point: a code c stands for c / 16.
 * registers_codes takes and gives codes; those of more than 63 bits are two's complement in several words,
 * the lowest first. Codes outside of their format lose their high bits.
 * registers_reals rounds doubles into the formats by the ports' rules. It gives 1, and its answers mean
 * nothing, if a number is not finite, or so large that what wraps around is no double; 0 else.
 * Both may run in several threads at once. They give -1 if there is no memory.
 */
#ifndef LUTC_REGISTERS_H
#define LUTC_REGISTERS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

int registers_codes(size_t n, const int64_t *in0, const int64_t *in1, int64_t *out0, int64_t *out1);
int registers_reals(size_t n, const double *in0, const double *in1, double *out0, double *out1);

#ifdef __cplusplus
}
#endif

#endif
