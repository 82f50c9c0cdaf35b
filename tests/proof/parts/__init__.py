"""The parts of `make prove`, a module each."""
