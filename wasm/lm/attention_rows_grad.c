// The gradient of attention over the rows of a run, with O(n) memory besides (Dao et al. 2022, algorithm 4): scores are computed again, 16 queries
// by 16 keys, from what each query's softmax was divided by. Threads split pairs of a sequence and a K/V head: all that a pair's sums take
// part in is its own, and the order of every sum is that of the rows.
#include "attend_rows.h"

typedef struct {
  const float *q;            // n x heads x head_dim
  const float *k, *v;        // n x kv_heads x head_dim
  const int32_t *sequences;  // n, never falling
  const float *dy;           // n x heads x head_dim
  float *dx;                 // n x parts x head_dim: dq of each head, then dk and dv of each K/V head; must not overlap what is read
  float *scratch;            // n x heads x 2: ln sum e^score, dy . y
  int32_t n, heads, kv_heads, head_dim;
  float scale;
  int32_t causal, window;
  float softcap;
  int32_t parts;
} attention_rows_grad_args;

typedef struct {
  row_attention of;  // y is where dq will be
  const float *dy;
  float *dx, *scratch;
  size_t q_stride, kv_stride, dx_stride;
} gradient;

// Up to 16 rows of one head's queries, or of a K/V head's keys: where their numbers lie
typedef struct {
  range rows;
  const float *x, *y;  // q and dy, or k and v, of the first row
  size_t stride;
  float *dx, *dy;      // dq, or dk and dv
} panel;

// Products of 16 queries and 16 keys: e^(score - ln sum), and the gradient of q . k
typedef struct {
  float p[BLOCK][BLOCK], ds[BLOCK][BLOCK];
} tile;

static float *scratch_of(const gradient *g, int row, int head) { return g->scratch + 2 * ((size_t)row * g->of.heads + head); }

static panel query_panel(const gradient *g, range rows, int head) {
  size_t at = rows.from * g->q_stride + (size_t)head * g->of.form.head_dim;
  return (panel){rows, g->of.q + at, g->dy + at, g->q_stride, g->dx + rows.from * g->dx_stride + (size_t)head * g->of.form.head_dim, 0};
}

static panel key_panel(const gradient *g, range rows, int kv_head) {
  size_t d = (size_t)g->of.form.head_dim, at = rows.from * g->kv_stride + kv_head * d;
  float *dk = g->dx + rows.from * g->dx_stride + (g->of.heads + kv_head) * d;
  return (panel){rows, g->of.k + at, g->of.v + at, g->kv_stride, dk, dk + g->of.kv_heads * d};
}

// Addresses of 16 rows from `x` on, those behind the panel's end replaced by its last
static void addresses(const panel *p, const float *x, const float **to) {
  for (int i = 0, last = p->rows.to - p->rows.from - 1; i < BLOCK; i++) to[i] = x + p->stride * (size_t)(i < last ? i : last);
}

// What the softmax of each query was divided by, and dy . y. The attention's result is made where dq will be, and given up.
static void normalise(const gradient *g, range sequence, int head) {
  query set[MAX_QUERIES];
  for (int row = sequence.from; row < sequence.to; row += MAX_QUERIES) {
    int count = attend_rows(&g->of, sequence, both(sequence, (range){row, row + MAX_QUERIES}), (head_group){head, 1}, set), d = g->of.form.head_dim;
    for (int i = 0; i < count; i++) {
      float *to = scratch_of(g, row + i, head);
      end_query(set + i, d);
      to[0] = set[i].max + (float)ln(set[i].sum);
      to[1] = dot(g->dy + (row + i) * g->q_stride + (size_t)head * d, set[i].y, d);
      fill(set[i].y, 0, d);
    }
  }
}

// From q . k and dy . v of a query with four keys: p = e^(score - ln sum) and ds = p (dy . v - dy . y) times what score grows by with q . k
INLINE void weigh_four(v128_t s, v128_t dp, v128_t log_sum, v128_t mean, const attend_form *f, float *p, float *ds) {
  v128_t slope = wasm_f32x4_splat(f->scale);
  s = wasm_f32x4_mul(s, slope);
  if (f->softcap > 0) {
    v128_t cap = wasm_f32x4_splat(f->softcap), z = wasm_f32x4_div(s, cap);
    s = wasm_f32x4_mul(tanh4(z), cap), slope = wasm_f32x4_mul(slope, sech_squared4(z));
  }
  v128_t e = exp4_or_zero(wasm_f32x4_sub(s, log_sum));
  wasm_v128_store(p, e);
  wasm_v128_store(ds, wasm_f32x4_mul(wasm_f32x4_mul(e, wasm_f32x4_sub(dp, mean)), slope));
}

static void fill_tile(const gradient *g, const panel *q, const panel *k, int head, tile *t) {
  const float *x[BLOCK], *dy[BLOCK], *keys[BLOCK], *values[BLOCK];
  addresses(q, q->x, x), addresses(q, q->y, dy), addresses(k, k->x, keys), addresses(k, k->y, values);
  int d = g->of.form.head_dim, count = q->rows.to - q->rows.from;
  for (int i = 0; i < count; i += 2) {
    v128_t s[2][BLOCK / 4], dp[2][BLOCK / 4];
    for (int j = 0; j < BLOCK; j += 4) dots(x + i, 2, keys + j, 4, d, s, j), dots(dy + i, 2, values + j, 4, d, dp, j);
    for (int r = i; r < i + 2 && r < count; r++) {
      const float *of = scratch_of(g, q->rows.from + r, head);
      v128_t log_sum = wasm_f32x4_splat(of[0]), mean = wasm_f32x4_splat(of[1]);
      for (int j = 0; j < BLOCK / 4; j++) weigh_four(s[r - i][j], dp[r - i][j], log_sum, mean, &g->of.form, t->p[r] + 4 * j, t->ds[r] + 4 * j);
    }
  }
}

// Rows of `to` += weights times the rows [of[r].from, of[r].to) of x: what was masked is not read. Two at a time where both take the same.
static __attribute__((noinline)) void add_products(float *to, size_t to_stride, const range *of, int count, const float *x, size_t stride, row_weights w, int d) {
  static const float one[2] = {1, 1};
  for (int r = 0; r < count; r++, to += to_stride) {
    row_weights own = {w.at + r * w.across, w.across, w.along};
    if (r + 1 < count && of[r].from == of[r + 1].from && of[r].to == of[r + 1].to) {
      mix_rows((float *const[]){to, to + to_stride}, 2, x, stride, of[r].from, of[r].to, own, one, d);
      r++, to += to_stride;
    } else if (of[r].from < of[r].to) {
      mix_rows(&to, 1, x, stride, of[r].from, of[r].to, own, one, d);
    }
  }
}

static inline range relative(range r, int to) { return (range){r.from - to, r.to - to}; }

// The part of one panel of queries and one of keys in dq, dk and dv
static void add_panels(const gradient *g, range sequence, const panel *q, const panel *k, int head) {
  tile t;
  range keys[BLOCK], queries[BLOCK];
  const row_attention *of = &g->of;
  int d = of->form.head_dim, rows = q->rows.to - q->rows.from, columns = k->rows.to - k->rows.from;
  fill_tile(g, q, k, head, &t);
  for (int i = 0; i < rows; i++) keys[i] = relative(both(k->rows, seen_by(of, sequence, q->rows.from + i)), k->rows.from);
  for (int i = 0, key = k->rows.from; i < columns; i++, key++)
    queries[i] = relative(both(q->rows, (range){of->causal ? key : 0, of->window ? key + of->window : of->n}), q->rows.from);
  add_products(q->dx, g->dx_stride, keys, rows, k->x, k->stride, (row_weights){t.ds[0], BLOCK, 1}, d);
  add_products(k->dx, g->dx_stride, queries, columns, q->x, q->stride, (row_weights){t.ds[0], 1, BLOCK}, d);
  add_products(k->dy, g->dx_stride, queries, columns, q->y, q->stride, (row_weights){t.p[0], 1, BLOCK}, d);
}

static void add_pair(const gradient *g, range sequence, int kv_head) {
  const row_attention *of = &g->of;
  int shared = of->heads / of->kv_heads, d = of->form.head_dim;
  for (int head = kv_head * shared; head < (kv_head + 1) * shared; head++) normalise(g, sequence, head);
  for (int at = sequence.from; at < sequence.to; at += BLOCK) {
    panel k = key_panel(g, both(sequence, (range){at, at + BLOCK}), kv_head);
    for (int i = 0; i < k.rows.to - at; i++) fill(k.dx + i * g->dx_stride, 0, d), fill(k.dy + i * g->dx_stride, 0, d);
    int last = of->window && of->window < sequence.to - k.rows.to ? k.rows.to - 1 + of->window : sequence.to;  // no row from here on sees any
    for (int head = kv_head * shared; head < (kv_head + 1) * shared; head++)
      for (int row = of->causal ? at : sequence.from; row < last; row += BLOCK) {
        panel q = query_panel(g, both(sequence, (range){row, row + BLOCK}), head);
        add_panels(g, sequence, &q, &k, head);
      }
  }
}

OP(attention_rows_grad) {
  size_t d = (size_t)a->head_dim;
  attend_form form = {a->head_dim, a->scale, a->softcap};
  row_attention of = {a->q, a->k, a->v, a->sequences, a->dx, a->parts * d, a->n, a->heads, a->kv_heads, a->causal, a->window < a->n ? a->window : a->n, form};
  gradient g = {of, a->dy, a->dx, a->scratch, a->heads * d, a->kv_heads * d, a->parts * d};
  if (is_bad_form(&of) || a->parts != a->heads + 2 * a->kv_heads) return INVALID_PARAMS;
  if (are_apart(a->sequences, a->n)) return INVALID_INPUT;
  for (int row = 0, pair = 0; row < a->n;) {
    range sequence = sequence_at(&of, row);
    for (int kv_head = 0; kv_head < a->kv_heads; kv_head++, pair++)
      if (pair % threads == thread) add_pair(&g, sequence, kv_head);
    row = sequence.to;
  }
  return OK;
}
