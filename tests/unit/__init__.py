"""One part at a time, on moto and in memory. The folders are the rooms of the engine, and the packages around it."""
