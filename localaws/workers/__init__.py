"""The processes in which the emulator runs Lambda functions."""
