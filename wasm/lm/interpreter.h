// What the interpreter, the thread loop and the table of ops share.
#pragma once
#include "lm.h"

typedef int op_function(const uint32_t *args, int thread, int threads);
extern op_function *const op_table[];
extern const uint32_t op_count;

// Words of shared memory that a run is steered by, 256 bytes. Words that different threads write lie 64 bytes apart.
typedef struct {
  uint32_t run;         // number of the present run * 16 + its threads: one word, so that no thread sees half of a change. Threads wait for it
                        // to change; a host that lets it change to 0 threads has thread_main return
  uint32_t program;     // of the present run
  uint32_t ready;       // bit t: thread t waits for runs
  uint32_t spin;        // host: looks at a barrier before a thread sleeps; 0 sleeps at once
  uint32_t still[12];
  uint32_t abort;       // host: not 0 ends the run at the next barrier with ABORTED; the host clears it
  uint32_t quiet[15];
  uint32_t arrived;     // at the present barrier
  uint32_t passed;      // barriers so far; a thread waits for it to change
  uint32_t code;        // of the first kernel that failed in this run
  uint32_t outcome;     // what all threads leave the last barrier with
  uint32_t silent[12];
  uint32_t slots[16];   // host: actual sizes (n, m, s …) by slot number
} control;

// A lowered program: the address of the control words, then records until END. A record is `op | words << 16`, `sync`, `slots` (bit i:
// argument word i is the number of a slot), then its argument words.
typedef struct {
  control *control;
  uint32_t records[];
} program;

#define END 0xffffffffu

int walk(const program *p, int thread, int threads);  // executes a program as one of its threads; answers the common outcome
int meet(control *c, uint32_t run, int threads);      // a barrier; answers what all leave it with, 0: go on
int start_threads(control *c, const program *p, int threads);  // 0, or STALLED when one of them is not there
