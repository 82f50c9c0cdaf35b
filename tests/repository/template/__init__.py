"""What holds the templates, the dependencies' pins, and what the layers hold to account.

`python -m tests.repository.template` is what `make lint` runs of it: cfn-lint, and checkov.
"""
