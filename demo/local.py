"""`make local`: the local AWS in the foreground, the stack deployed on it, ready for commands from another shell."""

import sys

from demo import gateway, sam
from localaws import LocalAws
from localaws.__main__ import run

STACK = "mtls-rotation"
DOMAIN = "api.mtls-rotation.example"


def deploy(aws: LocalAws) -> str:
    """Deploy the stack, and return what to try on it."""
    stack = gateway.deploy(aws, STACK, DOMAIN).stack
    return "\n".join(
        [
            f"The stack {STACK} is deployed in gateway mode. Try:",
            "",
            f"  aws secretsmanager rotate-secret --secret-id {STACK}/client",
            f"  aws secretsmanager describe-secret --secret-id {STACK}/client",
            f"  aws apigateway get-domain-name --domain-name {DOMAIN}",
            f"  aws s3api list-object-versions --bucket {stack.outputs['BucketName']} --prefix truststore.pem",
            "",
        ]
    )


def main() -> int:
    """Build, start, deploy, and stay until a signal comes."""
    print("Building, starting and deploying: about 20 seconds.", flush=True)
    sam.build(gateway.architecture())
    return run(deploy, enforce_iam=True)


if __name__ == "__main__":
    sys.exit(main())
