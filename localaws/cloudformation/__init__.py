"""CloudFormation: resource types that the emulator lacks, and those where it departs from AWS.

A module for each type, which calls the services by ``calls`` as a request would.
"""
