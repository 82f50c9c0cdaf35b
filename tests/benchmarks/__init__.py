"""What is measured: `make bench`. Times are ratios against a limit in the same run; AWS calls are exact counts."""
