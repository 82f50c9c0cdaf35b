"""That the benchmarks compare as they say."""
