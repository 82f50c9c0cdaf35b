"""The child process: the emulator with all that is added to it, its control surface, and what it holds."""
