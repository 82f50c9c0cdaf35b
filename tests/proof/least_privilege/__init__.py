"""Least privilege, both ways: what the template grants against what the functions used, with IAM enforced.

The local AWS writes down each kind of authorized request, and the statement that allowed it, into the folder that
``LOCALAWS_AUTHORIZATIONS`` names (``localaws/iam/authorizations.py``). What was used without being granted cannot be:
the local AWS refuses it. So the difference is what is granted and was never used; it has to be empty.
"""

from tests.proof.least_privilege.difference import Usage, difference, usage

__all__ = ["Usage", "difference", "usage"]
