"""A process that runs one GGUF in llama.cpp: one JSON command a line in, one JSON answer a line out. Runs in llama.cpp's own environment.

{"prompt": 128, "decode": 32, "seed": 1} → {"prefill_ms", "first_ms", "decode_ms"}; first_ms: from the call to the first token known."""

import json
import sys
import time

import llama_cpp
import numpy as np


def measure(llm, prompt, decode, seed):
    llm.reset()
    ids = [300 + (i * 37 + seed * 101 + 50) % 3000 for i in range(prompt)]
    start = time.perf_counter()
    llm.eval(ids)
    middle = time.perf_counter()
    token = int(np.argmax(llm.scores[llm.n_tokens - 1]))
    first = time.perf_counter()
    for _ in range(decode):
        llm.eval([token])
        token = int(np.argmax(llm.scores[llm.n_tokens - 1]))
    end = time.perf_counter()
    return {"prefill_ms": 1e3 * (middle - start), "first_ms": 1e3 * (first - start), "decode_ms": 1e3 * (end - first)}


def main(path, threads):
    start = time.perf_counter()
    llm = llama_cpp.Llama(path, n_ctx=1024, n_threads=threads, n_threads_batch=threads, verbose=False)
    info = llama_cpp.llama_print_system_info().decode()
    print(
        json.dumps({"load_ms": 1e3 * (time.perf_counter() - start), "info": info, "version": llama_cpp.__version__}),
        flush=True,
    )
    for line in sys.stdin:
        print(json.dumps(measure(llm, **json.loads(line))), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
