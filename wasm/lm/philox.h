// Philox4x32-10 (Salmon et al. 2011): four words of noise from a key and a counter.
#pragma once
#include <stdint.h>

// c: the counter, then the noise
static inline void philox(const uint32_t *key, uint32_t *c) {
  uint32_t k0 = key[0], k1 = key[1];
  for (int round = 0; round < 10; round++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u) {
    uint64_t a = (uint64_t)0xD2511F53u * c[0], b = (uint64_t)0xCD9E8D57u * c[2];
    uint32_t one = (uint32_t)(b >> 32) ^ c[1] ^ k0, three = (uint32_t)(a >> 32) ^ c[3] ^ k1;
    c[0] = one, c[1] = (uint32_t)b, c[2] = three, c[3] = (uint32_t)a;
  }
}
