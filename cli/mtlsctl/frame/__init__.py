"""How a function becomes a command: shared options, completion, questions, waiting."""
