"""`make local`: the local AWS in the foreground, the stack deployed on it, ready for commands from another shell."""

import sys
from pathlib import Path

from demo import gateway, sam
from localaws import LocalAws
from localaws.__main__ import Prepared, run

STACK = "mtls-rotation"
DOMAIN = "api.mtls-rotation.example"
# Where another shell finds mtlsctl, and a Python that has the client library.
PROGRAMS = (sam.ROOT / ".venv" / "bin",)


def deploy(aws: LocalAws) -> Prepared:
    """Build and deploy the stack, and return what to try on it."""
    sam.build(gateway.architecture())
    stack = gateway.deploy(aws, STACK, DOMAIN).stack
    text = "\n".join(
        [
            f"The stack {STACK} is deployed in gateway mode. In the other shell:",
            "",
            "  mtlsctl status",
            "  mtlsctl rotate client --wait",
            "  mtlsctl verify client",
            f"  aws secretsmanager rotate-secret --secret-id {STACK}/client",
            f"  aws apigateway get-domain-name --domain-name {DOMAIN}",
            "  aws s3api list-object-versions --bucket $BUCKET --prefix truststore.pem",
            f"  {client()}",
            "",
        ]
    )
    return Prepared(text, variables(stack), PROGRAMS)


def variables(stack: sam.Stack) -> dict[str, str]:
    """The stack's own for the shell: what its commands and its clients need."""
    return {
        "MTLS_ROTATION_STACK": stack.name,
        "STACK": stack.name,
        "BUCKET": stack.outputs["BucketName"],
        "ROTATE_FUNCTION": stack.outputs["RotateFunction"],
        "CLIENT_SECRET": f"{stack.name}/client",
    }


def client() -> str:
    """A client of one line: it presents the certificate of the moment to the gateway, and prints the answer."""
    return (
        """python -c "from mtls_client import ClientCertificate as C; print(C('$CLIENT_SECRET')"""
        """.httpx_client(server_ca=open('$LOCAL_SERVER_CA').read()).get('$LOCAL_GATEWAY').json())\""""
    )


def main(environment_file: Path) -> int:
    """Build, start, deploy, and stay until a signal comes.

    Args:
        environment_file: what another shell sources; it is there while the local AWS is.
    """
    print("Building, starting and deploying: about 20 seconds.", flush=True)
    return run(deploy, environment_file, enforce_iam=True)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "build/local.env")))
