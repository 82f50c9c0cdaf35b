"""CloudFormation: resource types that the emulator lacks, and those where it departs from AWS."""
