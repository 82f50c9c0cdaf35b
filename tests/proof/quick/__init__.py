"""`make prove QUICK=1`: a quick form of every long trial, as tests. CI runs them beside `make test`."""
