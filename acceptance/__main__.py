"""`make acceptance`: try everything on the AWS account at hand, or on the local AWS."""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import ExitStack, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from acceptance import account, asking, stacks
from acceptance.account import Account, Domain, NoAccountError
from acceptance.conduct import Conductor, Programme, TakenError
from acceptance.page import render
from acceptance.plan import plan
from acceptance.probes.registry import PROBES
from acceptance.report import Report, Verdict
from acceptance.run import fresh_name
from acceptance.scenarios.registry import SCENARIOS
from demo import sam
from localaws import LocalAws, LocalAwsError
from localaws.__main__ import heed_signals

FOLDER = sam.ROOT / "build" / "acceptance"
LOCAL_DOMAIN = "api.mtls-acceptance.example"
# What costs nothing but time is small; all that AWS leaves open is as strict as it is by default.
LOCALLY: dict[str, Any] = {
    "enforce_iam": True,
    "domain_update_interval": timedelta(seconds=1),
    "kms_key_lag": timedelta(seconds=1),
    "kms_tag_lag": timedelta(seconds=1),
    "iam_policy_lag": timedelta(seconds=1),
}
COLOURS = {Verdict.HELD: "green", Verdict.DIFFERS: "yellow", Verdict.FAILED: "bold red", Verdict.NOT_TRIED: "dim"}

console = Console(emoji=False)


def main(arguments: list[str] | None = None, folder: Path = FOLDER) -> int:
    """Try everything; 0 if the promise and every expectation held.

    Args:
        arguments: of the command line.
        folder: where the report goes.
    """
    parser = argparse.ArgumentParser(prog="make acceptance", description=__doc__)
    parser.add_argument("--against", choices=["account", "local"], default="account")
    parser.add_argument("--domain-name", default="", help="what the gateway is to be called")
    parser.add_argument("--hosted-zone-id", default="", help="the Route 53 hosted zone that the name lies in")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--clean", action="store_true", help="remove what every earlier run has left, and end")
    given = parser.parse_args(arguments)
    if bool(given.domain_name) != bool(given.hosted_zone_id):
        parser.error("DOMAIN_NAME and HOSTED_ZONE_ID belong together")
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        if given.against == "local":
            aws = held.enter_context(LocalAws.start(log_path=folder / "local-aws.log", **LOCALLY))
            where = account.on(aws)
            domain: Domain | None = Domain(LOCAL_DOMAIN, hosted_zone(where))
        else:
            where = account.at_hand()
            if where.caller.endswith(":root"):
                raise NoAccountError(
                    "The root user cannot assume the roles of probes. Use a user or a role of the account."
                )
            domain = Domain(given.domain_name, given.hosted_zone_id) if given.domain_name else None
        return on(where, domain, folder, yes=given.yes or given.against == "local", clean=given.clean)


def on(where: Account, domain: Domain | None, folder: Path, *, yes: bool, clean: bool) -> int:
    """Say what will be done, ask, and do it."""
    conductor, name = Conductor(where, folder, say), fresh_name()
    leftovers = conductor.leftovers(all_of_them=clean)
    if clean:
        console.print(f"This acts on {where.name}, and removes what {', '.join(leftovers) or 'no run'} has left.")
    else:
        for line in plan(where.name, name, domain.name if domain else "", leftovers).lines():
            console.print(line, highlight=False, markup=False, soft_wrap=True)
    asking.ask("Go on?", yes=yes or (clean and not leftovers), terminal=sys.stdin)
    if problems := conductor.clean(leftovers):
        raise LeftError("\n".join(problems))
    if clean:
        return 0

    programme = Programme(SCENARIOS, PROBES, lambda run: stacks.package(run.account, run.bucket, run.waiting))
    report = conductor.conduct(name, domain, programme)
    (folder / "report.json").write_text(report.dump(), "utf-8")
    (folder / "answers.json").write_text(report.answers(), "utf-8")
    (folder / "report.html").write_text(render(report.to_json()), "utf-8")
    show(report)
    console.print(f"{folder / 'report.html'} and report.json written after {report.seconds:.0f} s", highlight=False)
    return 1 if report.problems else 0


class LeftError(Exception):
    """What an earlier run has left could not be removed."""


def hosted_zone(where: Account) -> str:
    """A hosted zone for the local AWS's domain."""
    made = where.clients.route53.create_hosted_zone(Name=LOCAL_DOMAIN, CallerReference=str(time.time_ns()))
    return made["HostedZone"]["Id"].rpartition("/")[2]


def say(line: str) -> None:
    """Tell whoever watches; who watches no more holds nothing up, the removal least of all."""
    with suppress(OSError):
        console.print(f"[dim]{time.strftime('%H:%M:%S')}[/] {escape(line)}", highlight=False, soft_wrap=True)


def show(report: Report) -> None:
    """The two tables, and why the run does not pass, if so."""
    table = Table("scenario or probe", "expected", "found", "verdict", box=None)
    for scenario in report.scenarios:
        requests = f"{scenario.traffic.failed} of {scenario.traffic.sent} requests failed" if scenario.traffic else ""
        table.add_row(scenario.name, "", requests or scenario.why, _coloured(scenario.verdict))
    for probe in report.probes:
        table.add_row(probe.name, probe.expected, escape(probe.found or probe.detail), _coloured(probe.verdict))
    console.print(table)
    for problem in report.problems:
        console.print(f"[bold red]✗ {escape(problem)}[/]", soft_wrap=True)
    if not report.problems:
        console.print("[bold green]The promise held, and so did every expectation.[/]")


def _coloured(verdict: Verdict) -> str:
    return f"[{COLOURS[verdict]}]{verdict}[/]"


if __name__ == "__main__":
    heed_signals()
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("Interrupted. What is left is removed by the next run.")
    except (NoAccountError, TakenError, LeftError, asking.UnansweredError, asking.DeclinedError) as error:
        sys.exit(str(error))
    except (BotoCoreError, ClientError) as error:
        sys.exit(f"AWS answered with an error: {error}\nWhat is left of the run is removed by the next one.")
    except (sam.SamError, LocalAwsError) as error:
        sys.exit(f"{error}\nThe log of the local AWS: {FOLDER / 'local-aws.log'}")
