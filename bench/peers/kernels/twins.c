// The hot kernels once more in plain scalar C, on the file's own blocks: what a compiler makes of the obvious loops (vectorising is switched
// off). `bench kernels` measures the engine's against these and compares what both answer. Part of no build.
#include <stddef.h>
#include <stdint.h>

#define EXPORT(name) __attribute__((export_name(#name)))
#define BLOCK 32

typedef struct { float scale; int8_t q[BLOCK]; } row_block;  // quantised activations

static float half(const uint8_t *p) {
  union { uint32_t u; float f; } v = {.u = (uint32_t)((p[0] | p[1] << 8) & 0x7fff) << 13};
  return p[1] & 0x80 ? -v.f * 0x1p112f : v.f * 0x1p112f;
}

static float q4_0(const uint8_t *w, const row_block *x, int blocks) {
  float sum = 0;
  for (; blocks; blocks--, x++, w += 18) {
    int s = 0;
    for (int i = 0; i < 16; i++) s += ((w[2 + i] & 15) - 8) * x->q[i] + ((w[2 + i] >> 4) - 8) * x->q[16 + i];
    sum += half(w) * x->scale * s;
  }
  return sum;
}

static float q8_0(const uint8_t *w, const row_block *x, int blocks) {
  float sum = 0;
  for (; blocks; blocks--, x++, w += 34) {
    int s = 0;
    for (int i = 0; i < BLOCK; i++) s += (int8_t)w[2 + i] * x->q[i];
    sum += half(w) * x->scale * s;
  }
  return sum;
}

static float q4_k(const uint8_t *w, const row_block *x, int blocks) {
  float sum = 0;
  for (; blocks; blocks -= 8, x += 8, w += 144)
    for (int b = 0; b < 8; b++) {
      const uint8_t *six = w + 4, *bits = w + 16 + b / 2 * 32;
      int scale = b < 4 ? six[b] & 63 : (six[b + 4] & 15) | six[b - 4] >> 6 << 4;
      int least = b < 4 ? six[b + 4] & 63 : six[b + 4] >> 4 | six[b] >> 6 << 4, s = 0, all = 0;
      for (int i = 0; i < BLOCK; i++) s += (bits[i] >> 4 * (b % 2) & 15) * x[b].q[i], all += x[b].q[i];
      sum += x[b].scale * (half(w) * scale * s - half(w + 2) * least * all);
    }
  return sum;
}

static float q6_k(const uint8_t *w, const row_block *x, int blocks) {
  float sum = 0;
  for (; blocks; blocks -= 8, x += 8, w += 210)
    for (int b = 0; b < 8; b++)
      for (int h = 0; h < 2; h++) {
        const uint8_t *low = w + b / 4 * 64 + b % 2 * 32 + 16 * h, *top = w + 128 + b / 4 * 32 + 16 * h;
        int s = 0;
        for (int i = 0; i < 16; i++) s += (((low[i] >> b % 4 / 2 * 4 & 15) | (top[i] >> b % 4 * 2 & 3) << 4) - 32) * x[b].q[16 * h + i];
        sum += half(w + 208) * (int8_t)w[192 + 2 * b + h] * x[b].scale * s;
      }
  return sum;
}

static float f32(const uint8_t *w, const float *x, int in) {
  float sum = 0;
  for (int i = 0; i < in; i++) sum += ((const float *)w)[i] * x[i];
  return sum;
}

static float f16(const uint8_t *w, const float *x, int in) {
  float sum = 0;
  for (int i = 0; i < in; i++) sum += half(w + 2 * i) * x[i];
  return sum;
}

// y (n, out) = x w'; `type` is the file's number, `row_bytes` those of a row of w
EXPORT(matmul) void matmul(int type, const uint8_t *w, int row_bytes, const void *x, float *y, int n, int out, int in) {
  for (int j = 0; j < n; j++)
    for (int r = 0; r < out; r++) {
      const uint8_t *row = w + (size_t)r * row_bytes;
      const float *plain = (const float *)x + (size_t)j * in;
      const row_block *blocks = (const row_block *)x + (size_t)j * (in / BLOCK);
      float *to = y + (size_t)j * out + r;
      switch (type) {
        case 0: *to = f32(row, plain, in); break;
        case 1: *to = f16(row, plain, in); break;
        case 2: *to = q4_0(row, blocks, in / BLOCK); break;
        case 8: *to = q8_0(row, blocks, in / BLOCK); break;
        case 12: *to = q4_k(row, blocks, in / BLOCK); break;
        case 14: *to = q6_k(row, blocks, in / BLOCK); break;
      }
    }
}

EXPORT(quantize) void quantize(const float *x, row_block *y, int n, int d) {
  for (int b = 0; b < n * (d / BLOCK); b++, x += BLOCK, y++) {
    float most = 0;
    for (int i = 0; i < BLOCK; i++) most = __builtin_fabsf(x[i]) > most ? __builtin_fabsf(x[i]) : most;
    y->scale = most / 127;
    for (int i = 0; i < BLOCK; i++) y->q[i] = most ? (int8_t)__builtin_rintf(x[i] * (127 / most)) : 0;
  }
}

EXPORT(rms_norm) void rms_norm(const float *x, const float *weight, float *y, int n, int d, float eps) {
  for (int j = 0; j < n; j++, x += d, y += d) {
    double squares = 0;
    for (int i = 0; i < d; i++) squares += (double)x[i] * x[i];
    float inverse = (float)(1 / __builtin_sqrt(squares / d + eps));
    for (int i = 0; i < d; i++) y[i] = x[i] * inverse * weight[i];
  }
}

static float exponential(float x) {  // e^x for x <= 0
  if (x < -87) return 0;
  float n = __builtin_rintf(x * 1.44269504f), r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1 + r * (1 + r * (0.5f + r * (0.16666667f + r * (0.041666667f + r * 0.0083333333f))));
  union { int32_t i; float f; } two = {.i = ((int32_t)n + 127) << 23};
  return p * two.f;
}

// One query row over `tokens` keys: q, y (heads, d); k, v pages of (kv_heads, page, d) one after the other; score is scratch (tokens)
EXPORT(attention) void attention(const float *q, const float *k, const float *v, float *y, float *score, int tokens, int heads, int kv_heads, int d, int page, float scale) {
  for (int h = 0; h < heads; h++, q += d, y += d) {
    int head = h / (heads / kv_heads);
    float most = -1e30f, all = 0;
    for (int t = 0; t < tokens; t++) {
      const float *key = k + (((size_t)(t / page) * kv_heads + head) * page + t % page) * d;
      score[t] = 0;
      for (int i = 0; i < d; i++) score[t] += q[i] * key[i];
      score[t] *= scale;
      most = score[t] > most ? score[t] : most;
    }
    for (int i = 0; i < d; i++) y[i] = 0;
    for (int t = 0; t < tokens; t++) {
      const float *value = v + (((size_t)(t / page) * kv_heads + head) * page + t % page) * d, weight = exponential(score[t] - most);
      all += weight;
      for (int i = 0; i < d; i++) y[i] += weight * value[i];
    }
    for (int i = 0; i < d; i++) y[i] /= all;
  }
}
