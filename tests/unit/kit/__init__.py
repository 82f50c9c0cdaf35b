"""What tests are made with, and how they are run: `make check`, the runs of `make test`, what may be written."""
