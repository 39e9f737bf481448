"""Records of questions asked and answered, and the benchmarks."""
