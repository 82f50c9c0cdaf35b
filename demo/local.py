"""`make local`: the local AWS in the foreground, the stack deployed on it, ready for commands from another shell."""

import shlex
import sys
from pathlib import Path

from demo import gateway, sam
from localaws import LocalAws
from localaws.__main__ import heed_signals, run
from localaws.environment import export_lines

STACK = "mtls-rotation"
DOMAIN = "api.mtls-rotation.example"
# Where another shell finds aws, sam and mtlsctl.
PROGRAMS = (sam.ROOT / ".venv" / "bin", sam.SAM_ENVIRONMENT)


class Local:
    """The stack on a local AWS, and the file that another shell sources to work with it."""

    def __init__(self, environment_file: Path) -> None:
        self._file = environment_file

    def deploy(self, aws: LocalAws) -> str:
        """Deploy the stack, and return what to try on it."""
        stack = gateway.deploy(aws, STACK, DOMAIN).stack
        lines = [*export_lines(aws.environment()), f"export MTLS_ROTATION_STACK={STACK}", _path()]
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text("".join(f"{line}\n" for line in lines), "utf-8")
        return "\n".join(
            [
                f"The stack {STACK} is deployed in gateway mode. In another shell:",
                "",
                f"  source {shlex.quote(str(self._file))}",
                "",
                "  mtlsctl status",
                "  mtlsctl rotate client --wait",
                "  mtlsctl verify client",
                f"  aws secretsmanager rotate-secret --secret-id {STACK}/client",
                f"  aws apigateway get-domain-name --domain-name {DOMAIN}",
                f"  aws s3api list-object-versions --bucket {stack.outputs['BucketName']} --prefix truststore.pem",
                "",
            ]
        )

    def forget(self) -> None:
        """Take the file away: what it names is gone."""
        self._file.unlink(missing_ok=True)


def _path() -> str:
    programs = ":".join(map(str, PROGRAMS))
    return f'export PATH={shlex.quote(programs)}:"$PATH"'


def main(environment_file: Path) -> int:
    """Build, start, deploy, and stay until a signal comes.

    Args:
        environment_file: what another shell sources; it is there while the local AWS is.
    """
    heed_signals()
    print("Building, starting and deploying: about 20 seconds.", flush=True)
    local = Local(environment_file)
    try:
        sam.build(gateway.architecture())
        return run(local.deploy, enforce_iam=True)
    except KeyboardInterrupt:
        return 0
    finally:
        local.forget()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "build/local.env")))
