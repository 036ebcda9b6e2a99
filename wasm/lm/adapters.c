// Adapters of LoRA (Hu et al. 2021) beside a frozen matrix: each row of a run mixes those it wants, out of a pool that holds many.
#include "lm.h"

enum { AT_A, AT_B, RANK, ENTRY = 4 };

typedef struct {
  const float *x;        // n x in
  const float *pool;     // values
  const int32_t *table;  // sites x slots x 4: offset of A (rank x in) and of B (out x rank) in the pool, rank (0: none), 0
  const float *mix;      // n x slots: how much of each slot a row takes
  float *y;              // n x out
  int32_t n, in, out, site, sites, slots, values;
} adapters_args;

static inline int lies_in_pool(int64_t at, int64_t count, int32_t values) { return at >= 0 && at + count <= values; }

static int are_good(const int32_t *entries, const adapters_args *a) {
  for (const int32_t *e = entries; e < entries + ENTRY * a->slots; e += ENTRY) {
    if (e[RANK] == 0) continue;
    if (e[RANK] < 0 || e[RANK] > MAX_LORA_RANK || !lies_in_pool(e[AT_A], (int64_t)e[RANK] * a->in, a->values) ||
        !lies_in_pool(e[AT_B], (int64_t)e[RANK] * a->out, a->values))
      return 0;
  }
  return 1;
}

// y += the part of one slot for outputs [begin, end); `amount` is its share
static void add_slot(const adapters_args *a, const int32_t *entry, float amount, const float *x, float *y, int begin, int end) {
  float h[MAX_LORA_RANK];
  int rank = entry[RANK];
  const float *factor = a->pool + entry[AT_A], *b = a->pool + entry[AT_B] + (size_t)begin * rank;
  for (int k = 0; k < rank; k++, factor += a->in) h[k] = amount * dot(factor, x, a->in);
  for (int o = begin; o < end; o++, b += rank) y[o] += dot(b, h, rank);
}

// y += sum over slots of mix[row, slot] * (x A') B'. Threads split outputs; each computes x A' for itself, which costs less than to meet.
OP(adapters) {
  if (a->n < 0 || a->in <= 0 || a->out <= 0 || a->slots <= 0 || a->values < 0 || (uint32_t)a->site >= (uint32_t)a->sites) return INVALID_PARAMS;
  const int32_t *entries = a->table + (size_t)a->site * a->slots * ENTRY;
  if (!are_good(entries, a)) return INVALID_INPUT;
  int begin, end;
  share(a->out, 1, thread, threads, &begin, &end);
  for (int row = 0; row < a->n; row++)
    for (int slot = 0; slot < a->slots; slot++) {
      float amount = a->mix[(size_t)row * a->slots + slot];
      const int32_t *entry = entries + ENTRY * slot;
      if (amount != 0 && entry[RANK]) add_slot(a, entry, amount, a->x + (size_t)row * a->in, a->y + (size_t)row * a->out, begin, end);
    }
  return OK;
}
