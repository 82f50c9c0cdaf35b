"""Tests on a stack that `sam build` and `sam deploy` make on the local AWS."""
