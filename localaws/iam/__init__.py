"""IAM: actions, resources and condition keys of requests, what services do for a role, and what allowed it.

Of effect with IAM enforced; function policies always.
"""
