"""all-MiniLM-L6-v2 as ONNX: read the safetensors, write the graph, quantise it. Runs at build time in CPython; no torch."""
