"""How each command of the documents is held: run here, run by another test, or one of those that need a real account.

The first rule that fits a command decides. A command that no rule fits fails a test.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.repository.documents.commands import Command


@dataclass(frozen=True)
class Run:
    """`tests/e2e/test_document_commands.py` runs it on a deployed stack.

    Attributes:
        ends: the exit statuses that are all right.
        before: what is run first, in the same shell, so that the command has something to act on.
        values: further words of the command → what stands for them here.
    """

    ends: tuple[int, ...] = (0,)
    before: str = ""
    values: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Held:
    """Another test runs it, or what it hands over.

    Attributes:
        test: file, and name if it is one test alone.
        because: why it is not run with the others.
    """

    test: str
    because: str


@dataclass(frozen=True)
class NeedsAccount:
    """It acts on a real account, and is for those who have one."""


type Verdict = Run | Held | NeedsAccount

_EXAMPLES = "tests/unit/examples"
_ALL = r"README\.md|docs/.*"
_CLIENTS = r"docs/clients/.*"

# (document, command, verdict): both patterns fit the whole.
RULES: tuple[tuple[str, str, Verdict], ...] = (
    # Those that deploy what they are told to.
    (_ALL, r'make deploy( PARAMETERS=".*")?', NeedsAccount()),
    (r"README\.md", r"sam build && sam deploy", NeedsAccount()),
    # What sets up, runs or measures the whole.
    (
        _ALL,
        r"make demo.*",
        Held("tests/e2e/test_demo.py::test_the_demo_does_what_the_readme_says", "it brings its own AWS"),
    ),
    (
        _ALL,
        r"make acceptance AGAINST=local",
        Held(
            "tests/repository/test_documents.py::test_ci_runs_what_a_developer_runs_and_holds_nothing_that_is_secret",
            "it is what CI runs",
        ),
    ),
    (_ALL, r"make acceptance.*", NeedsAccount()),
    (_ALL, r"make picture", Held("tests/e2e/browser/test_page.py", "it makes the README's pictures anew")),
    (_ALL, r"make browser", Held("tests/unit/demo/test_browser.py", "it installs a browser")),
    (
        r"README\.md",
        r"python -c .*",
        Held("tests/e2e/test_newcomer.py::test_the_readmes_client_of_one_line_is_answered", "it is for that shell"),
    ),
    (_ALL, r"make local.*", Held("tests/e2e/test_newcomer.py", "it stays in the foreground")),
    (
        _ALL,
        r"make (test|lint)",
        Held(
            "tests/repository/test_documents.py::test_ci_runs_what_a_developer_runs_and_holds_nothing_that_is_secret",
            "it is what runs this",
        ),
    ),
    (
        _ALL,
        r"make bench( +#.*)?|python -m tests\.benchmarks.*",
        Held("tests/proof/quick/test_fleet.py", "it measures for minutes"),
    ),
    (
        _ALL,
        r"make bench-check.*",
        Held("tests/unit/benchmarks/test_benchmarks.py::test_no_call_more_is_made_than_was_kept", "it is what CI runs"),
    ),
    (
        _ALL,
        r"make prove( QUICK=1)?|python -m tests\.proof( --keep)?",
        Held("tests/proof/quick/test_crash_points.py", "it tries for half an hour; the quick forms are tests"),
    ),
    (_ALL, r"make package", Held("tests/proof/quick/test_package.py", "it has a test of its own")),
    (
        _ALL,
        r"uv tool install .*--find-links build/package/wheels mtlsctl",
        Held(
            "tests/proof/quick/test_package.py::test_the_wheels_install_with_no_index_and_their_commands_run",
            "it changes the user's own tools",
        ),
    ),
    (
        r"docs/local-aws\.md",
        r"python -m localaws.*",
        Held("tests/integration/localaws/test_process.py", "it stays in the foreground"),
    ),
    (
        _ALL,
        r"python -m tests\.repository\.documents(\.costs)?",
        Held(
            "tests/repository/test_documents.py::test_every_table_is_as_its_program_makes_it",
            "it writes into the documents",
        ),
    ),
    # The platforms of docs/clients: clusters, instances and builders are not here. What is handed to them is looked at.
    (
        _CLIENTS,
        r"kubectl apply .*|kubectl --namespace billing .*|helm .*",
        Held(f"{_EXAMPLES}/test_kubernetes.py", "it needs a cluster; every manifest is held to its schema"),
    ),
    (_CLIENTS, r"docker (build|push) .*", Held(f"{_EXAMPLES}/test_image.py", "it needs Docker and a registry")),
    (
        _CLIENTS,
        r"sudo (uv|env) .*|pip install .*",
        Held(
            "tests/proof/quick/test_package.py::test_the_wheels_install_with_no_index_and_their_commands_run",
            "it installs what make package builds",
        ),
    ),
    (
        _CLIENTS,
        r"sudo .*|swapon --show|cd examples/ec2/nginx",
        Held(f"{_EXAMPLES}/test_systemd.py", "it needs root on a machine of its own; every unit is looked at"),
    ),
    (
        _CLIENTS,
        r"cd examples/lambda|sam (build|deploy).*",
        Held(
            f"{_EXAMPLES}/test_lambda.py", "it deploys to a real account; the template is linted and its function run"
        ),
    ),
    (_CLIENTS, r"mtls-sidecar .*|haproxy .*", Held(f"{_EXAMPLES}/test_commands.py", "it stays in the foreground")),
    (
        _CLIENTS,
        r"curl .*127\.0\.0\.1:9901/.*",
        Held("tests/integration/examples/test_sidecar.py", "it asks a sidecar that runs"),
    ),
    (
        _CLIENTS,
        r"aws (eks|ecs|cloudformation) .*",
        Held(
            "tests/repository/test_documents.py::test_every_command_of_the_aws_cli_is_one_that_it_has",
            "the local AWS has no cluster",
        ),
    ),
    (
        _CLIENTS,
        r"aws iam create-role .*irsa.*",
        Run(
            before="aws iam delete-role-policy --role-name billing --policy-name client-certificate && "
            "aws iam delete-role --role-name billing"
        ),
    ),
    (_CLIENTS, r"aws (iam|logs) .*", Run()),
    (
        r"docs/operations\.md",
        r"pip install 'mtls-client\[NAME\]'",
        Held(
            "tests/proof/quick/test_package.py::test_the_wheels_install_with_no_index_and_their_commands_run",
            "it installs what make package builds",
        ),
    ),
    (
        r"README\.md",
        r"mtls-sidecar proxy .*",
        Held("tests/integration/examples/test_sidecar.py", "it stays in the foreground"),
    ),
    # The gateway.
    (r"docs/gateway\.md", r"present\(\) \{[\s\S]*", Run()),
    (r"docs/gateway\.md", r"present .*", Run()),
    (r"docs/gateway\.md", r"curl -sS https://api\.example\.com/", Run(ends=(35, 52, 55, 56))),
    (
        r"docs/gateway\.md",
        r"curl .*--aws-sigv4.*",
        Held(
            "tests/e2e/test_proxy.py::test_only_who_may_invoke_a_route_reaches_the_partner",
            "the local AWS has no certificate for execute-api",
        ),
    ),
    (r"docs/gateway\.md", r"base64 -w0 allow-list\.json", Run()),
    (r"docs/gateway\.md", r"key=.*", Run(values=(("c7ba245ec7ebae1d0b77da5e19340f7c", "$(serial NAME)"),))),
    (
        r"docs/gateway\.md",
        r"openssl .*",
        Held("tests/e2e/test_revocation.py", "it needs a CRL that lists a certificate"),
    ),
    # Certificates that others sign.
    (r"README\.md|docs/issuers\.md", r"aws s3 cp answer\.pem s3://BUCKET/signed/answer\.pem", Run()),
    # Going back and forth.
    (
        r"docs/migration\.md",
        r"aws secretsmanager update-secret-version-stage .*",
        Run(
            values=(
                ("PREVIOUS", "$(label legacy/billing AWSPREVIOUS)"),
                ("CURRENT", "$(label legacy/billing AWSCURRENT)"),
            )
        ),
    ),
    (r"docs/migration\.md", r"aws apigateway get-domain-name .* mutualTlsAuthentication", Run(before="legacy")),
    (r"docs/migration\.md", r"mtlsctl import .* --from .*", Run(values=(("client billing", "client imported"),))),
    # A rotation that is stuck.
    (
        r"docs/operations\.md",
        r"aws secretsmanager update-secret-version-stage .*",
        Run(before="pend NAME", values=(("version-id ID", "version-id $(label NAME AWSPENDING)"),)),
    ),
    (r"docs/operations\.md", r"mtlsctl verify .* --label AWSPENDING", Run(ends=(0, 1, 2))),
    (
        r"docs/operations\.md",
        r"aws logs get-query-results .*",
        Run(
            before='QUERY=$(aws logs start-query --log-group-names "$(resource RotateLogs)" --start-time 0 '
            "--end-time 1 --query-string 'fields @message' --query queryId --output text)",
            values=(("query-id ID", "query-id $QUERY"),),
        ),
    ),
    (
        r"docs/operations\.md",
        r"aws lambda list-event-source-mappings .*",
        Run(values=(("FUNCTION", "$(resource TruststoreSyncFunction)"),)),
    ),
    (
        r"docs/operations\.md",
        (
            r"aws secretsmanager restore-secret --secret-id \$STACK/.*|aws s3api list-buckets .*|secret\(\) .*|"
            r"aws cloudformation (delete-stack|wait|create-change-set|execute-change-set) .*"
        ),
        Held(
            "tests/e2e/test_lifecycle.py::test_a_new_stack_takes_over_what_a_deleted_one_of_its_name_kept",
            "it takes a stack that was deleted",
        ),
    ),
    (
        r"docs/operations\.md",
        r"aws secretsmanager restore-secret .*",
        Run(
            before="spare STACK/back-billing && aws secretsmanager delete-secret --secret-id STACK/back-billing",
            values=(("NAME", "STACK/back-billing"),),
        ),
    ),
    (
        r"docs/operations\.md",
        r"aws kms describe-key .*",
        Run(
            before="CA_KEY=$(aws kms create-key --query KeyMetadata.KeyId --output text)",
            values=(("KEY", "$CA_KEY"),),
        ),
    ),
    (
        r"docs/operations\.md",
        r"aws secretsmanager delete-secret .*",
        Run(before="spare STACK/gone-billing", values=(("NAME", "STACK/gone-billing"),)),
    ),
    (
        r"docs/operations\.md",
        r"aws s3api delete-object .* VERSION_OF_THE_DELETE_MARKER",
        Run(
            before="aws s3 cp old-ca.pem s3://BUCKET/lost.pem && aws s3 rm s3://BUCKET/lost.pem && "
            "MARKER=$(aws s3api list-object-versions --bucket BUCKET --prefix lost.pem "
            "--query 'DeleteMarkers[0].VersionId' --output text)",
            values=(("KEY", "lost.pem"), ("VERSION_OF_THE_DELETE_MARKER", "$MARKER")),
        ),
    ),
    (
        r"docs/operations\.md",
        r"aws apigateway update-domain-name --domain-name DOMAIN .*",
        Held("tests/e2e/test_mtlsctl_remedies.py", "it is done to a domain that has lost it"),
    ),
    (
        r"docs/operations\.md",
        r"aws s3 mv s3://\$BUCKET/anchor/partner\.pem .*",
        Run(before="aws s3 cp old-ca.pem s3://BUCKET/anchor/partner.pem"),
    ),
    (r"docs/operations\.md", r"log \w+( \w+)?( \| grep .*)?", Run(ends=(0, 1))),
    (r"docs/operations\.md", r"aws s3 ls .*", Run(ends=(0, 1))),  # 1: there is nothing
    (r"docs/operations\.md", r".* \| grep .*", Run(ends=(0, 1))),
    # mtlsctl: 1 says that something needs attention, which it may.
    (_ALL, r"uv run mtlsctl .*", Held("tests/e2e/test_mtlsctl_status.py", "uv would renew what this runs in")),
    (_ALL, r"mtlsctl --install-completion", Held("tests/unit/cli", "it changes the user's own shell")),
    (_ALL, r"mtlsctl (status|doctor|truststore (diff|plan|show))\b.*", Run(ends=(0, 1))),
    # 2: the gateway's domain name resolves nowhere here.
    (_ALL, r"mtlsctl verify .*", Run(ends=(0, 1, 2))),
    # What asks for a yes at a terminal is given it; what is revoked is nobody else's.
    (
        _ALL,
        r"mtlsctl revoke .*",
        Run(
            before="spare STACK/lost-billing",
            values=(
                ("revoke SECRET", "revoke lost-billing --yes --wait"),
                ("revoke client", "revoke lost-billing"),
            ),
        ),
    ),
    (
        _ALL,
        r"mtlsctl truststore distrust .*",
        Held("tests/e2e/test_end_to_end.py", "it takes a CA out that all others need"),
    ),
    (
        _ALL,
        r"mtlsctl rotate --all --ca .*",
        Held("tests/e2e/test_end_to_end.py", "it replaces the CA that all others need"),
    ),
    # 1: one of the secrets that the other documents made cannot be filed.
    (_ALL, r"mtlsctl truststore rebuild", Run(ends=(0, 1), values=(("rebuild", "rebuild --yes"),))),
    (_ALL, r"mtlsctl truststore sync --force.*", Run(values=(("--force", "--force --yes"),))),
    (
        r"docs/mtlsctl\.md",
        r"mtlsctl import signed answer\.pem.*",
        Held("tests/e2e/test_mtlsctl_import.py", "it needs a request that waits"),
    ),
    (r"docs/mtlsctl\.md", r"mtlsctl rotate billing --wait", Run(values=(("billing", "SECRET"),))),
    (_ALL, r"mtlsctl .*", Run()),
    (_ALL, r"aws .*|\w+\(\) \{[\s\S]*|\w+=.*|resource \w+|sync", Run()),
)


def verdict(command: Command) -> Verdict | None:
    """How a command is held."""
    for document, pattern, found in RULES:
        if re.fullmatch(document, command.document) and re.fullmatch(pattern, command.text):
            return found
    return None
