"""Files that others made: GGUF (reading by range, writing) and its blocks of quantised weights. Runs anywhere; opens nothing itself."""
