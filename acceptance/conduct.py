"""The order of a run: clean up after earlier ones, make, play, ask, clean up after itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from acceptance import stacks
from acceptance.cleanup import Cleanup
from acceptance.inventory import Inventory
from acceptance.ledger import Ledger, abandoned, going_on
from acceptance.probes.api import Needs, UndecidedError
from acceptance.report import Checks, ProbeReport, Report, ScenarioReport, Verdict, in_words
from acceptance.run import Run
from acceptance.scenarios.api import Scene
from acceptance.waiting import StoppedError, Waiting

if TYPE_CHECKING:
    from acceptance.account import Account, Domain
    from acceptance.probes.api import Probe
    from acceptance.scenarios.api import Scenario

WITHOUT_DOMAIN = "It needs DOMAIN_NAME and HOSTED_ZONE_ID."


class TakenError(Exception):
    """The domain name is somebody's already."""


@dataclass(frozen=True)
class Programme:
    """What is to be done.

    Attributes:
        prepare: makes what is deployed lie in the run's bucket, as the template's address in the run says.
    """

    scenarios: Sequence[Scenario]
    probes: Sequence[Probe]
    prepare: Callable[[Run], object]


class Conductor:
    """Does a run.

    Args:
        account: where.
        folder: where ledgers go.
        say: tells whoever watches what happens.
    """

    def __init__(self, account: Account, folder: Path, say: Callable[[str], None]) -> None:
        self._account = account
        self._ledgers = folder / "ledgers"
        self._say = say
        self._inventory = Inventory(account)

    def leftovers(self, *, all_of_them: bool = False) -> list[str]:
        """The runs that have left something, by the ledgers of this machine and by tags.

        Args:
            all_of_them: those of other machines too whose time is not over: they may still go on.
        """
        with abandoned(self._ledgers, self._account.id, self._account.region) as found:
            runs = [it.run for it in found]
        here, now = going_on(self._ledgers), datetime.now(UTC)
        tagged = self._inventory.runs()
        return sorted(
            {
                *runs,
                *(run for run, until in tagged.items() if run not in here and (all_of_them or until < now)),
            }
        )

    def clean(self, runs: Sequence[str]) -> list[str]:
        """Remove what runs have left, and return what could not be removed."""
        cleanup, problems = self._cleanup(), []
        with abandoned(self._ledgers, self._account.id, self._account.region) as found:
            by_ledger = {it.run: it for it in found}
            for run in runs:
                self._say(f"cleaning up after {run}")
                ledger = by_ledger.get(run)
                failed = cleanup.remove([*(ledger.things if ledger else []), *self._inventory.of(run)])
                if ledger and not failed:
                    ledger.path.unlink(missing_ok=True)
                problems += failed
        return problems

    def conduct(self, name: str, domain: Domain | None, programme: Programme) -> Report:
        """Do a run, and remove what it has made, whatever becomes of it.

        Args:
            name: the run's.
            domain: the gateway's; `None`: there is to be none.
            programme: what is to be done.

        Raises:
            TakenError: the domain name is in use. Nothing was made.
        """
        if domain:
            self._require_free(domain)
        began, at = time.monotonic(), datetime.now(UTC)
        account = self._account
        ledger = Ledger.begin(self._ledgers, name, account.id, account.region)
        url = stacks.template_url(account, f"{name}-{account.id}", stacks.PACKAGED.name)
        run = Run(name, account, ledger, Waiting(account.pace.interval), domain, url, self._say)
        playing, stopped = Playing(run, programme), ""
        try:
            run.make_bucket()
            programme.prepare(run)
            playing.play()
        except KeyboardInterrupt:
            stopped = "interrupted"
        except Exception as error:  # noqa: BLE001 - whatever it is: what was made has to go
            stopped = in_words(error)
        self._say("removing what was made")
        cleanup = self._cleanup()
        left = cleanup.remove([*ledger.things(), *self._inventory.of(name)], note=ledger.will_make)
        ledger.close(empty=not left)
        return Report(
            run=name,
            against=account.name,
            local=account.local is not None,
            began=at.isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - began, 1),
            scenarios=playing.scenarios,
            probes=playing.probes,
            left=left,
            stopped=stopped,
        )

    def _cleanup(self) -> Cleanup:
        return Cleanup(self._account, Waiting(self._account.pace.interval), self._say)

    def _require_free(self, domain: Domain) -> None:
        """Raise where the domain answers for somebody else."""
        aws = self._account.clients
        try:
            aws.apigateway.get_domain_name(domainName=domain.name)
        except ClientError as error:
            if error.response["Error"]["Code"] != "NotFoundException":
                raise
        else:
            raise TakenError(f"{domain.name} is a custom domain name of API Gateway already. Name one that is free.")
        pages = aws.route53.get_paginator("list_resource_record_sets").paginate(HostedZoneId=domain.hosted_zone)
        for it in (it for page in pages for it in page["ResourceRecordSets"]):
            if it["Name"].rstrip(".") == domain.name and it["Type"] in {"A", "AAAA", "CNAME"}:
                raise TakenError(f"{domain.name} has a record of type {it['Type']} already. Name one that is free.")


class Playing:
    """Scenarios and probes of one run, at the same time as far as they let each other be."""

    def __init__(self, run: Run, programme: Programme) -> None:
        self._run = run
        self._programme = programme
        self._began = time.monotonic()
        self._scenarios: dict[str, ScenarioReport] = {}
        self._probes: dict[str, ProbeReport] = {}

    @property
    def scenarios(self) -> list[ScenarioReport]:
        """What came of the scenarios, in their order; those that were not begun included."""
        return [
            self._scenarios.get(it.name) or ScenarioReport(it.name, it.promise, Verdict.NOT_TRIED, [], 0.0, "not begun")
            for it in self._programme.scenarios
        ]

    @property
    def probes(self) -> list[ProbeReport]:
        """What came of the probes, likewise."""
        return [
            self._probes.get(it.name) or _report(it, "", Verdict.NOT_TRIED, "not begun", 0.0)
            for it in self._programme.probes
        ]

    def play(self) -> None:
        """Play and ask all. An interruption is handed on when everything has come to rest."""
        probes, scene = self._programme.probes, Scene()
        alone = [it for it in probes if it.needs is Needs.NOTHING]
        at_gateway = [it for it in probes if it.needs is Needs.GATEWAY]
        # The gateway's scenario waits for most of its time: the others have the processor meanwhile, one by one.
        scenarios = self._programme.scenarios
        before = [it for it in scenarios if it.needs_domain and not it.after_probes]
        after = [it for it in scenarios if it.needs_domain and it.after_probes]
        others = [it for it in scenarios if not it.needs_domain]

        def play_at_the_gateway() -> None:
            self._play(before, scene)
            self._ask(at_gateway, scene)
            self._play(after, scene)

        with ThreadPoolExecutor(3, thread_name_prefix="acceptance") as pool:
            running: list[Future[None]] = [
                pool.submit(play_at_the_gateway),
                pool.submit(self._play, others, scene),
                pool.submit(self._ask, alone, scene),
            ]
            try:
                for it in running:
                    it.result()
            except BaseException:
                self._run.waiting.stopping.set()
                raise

    def _play(self, scenarios: Sequence[Scenario], scene: Scene) -> None:
        """Some scenarios, one by one."""
        for it in scenarios:
            if self._run.waiting.stopping.is_set():
                return
            if it.needs_domain and self._run.domain is None:
                why = WITHOUT_DOMAIN
                self._scenarios[it.name] = ScenarioReport(it.name, it.promise, Verdict.NOT_TRIED, [], 0.0, why)
            else:
                self._scenarios[it.name] = self._played(it, scene)

    def _played(self, scenario: Scenario, scene: Scene) -> ScenarioReport:
        checks, began, why = Checks(), time.monotonic(), ""
        try:
            scenario.play(self._run, checks, scene)
        except StoppedError:
            why = "stopped"
        except Exception as error:  # noqa: BLE001 - whatever it is, the other scenarios go on
            why = in_words(error)
        traffic, scene.traffic = (scene.traffic, None) if scenario.needs_domain else (None, scene.traffic)
        failed = bool(why and why != "stopped") or not all(it.ok for it in checks.all)
        failed = failed or bool(traffic and traffic.failed)
        verdict = Verdict.FAILED if failed else Verdict.NOT_TRIED if why else Verdict.HELD
        seconds = round(time.monotonic() - began, 1)
        self._run.say(f"{scenario.name}: {verdict} after {seconds:.0f} s{f': {why}' if why else ''}")
        return ScenarioReport(scenario.name, scenario.promise, verdict, checks.all, seconds, why, traffic)

    def _ask(self, probes: Sequence[Probe], scene: Scene) -> None:
        for probe in probes:
            if self._run.waiting.stopping.is_set():
                return
            if time.monotonic() - self._began > self._run.account.pace.budget:
                self._probes[probe.name] = _report(probe, "", Verdict.NOT_TRIED, "no time was left", 0.0)
                continue
            began = time.monotonic()
            found, verdict, detail = self._asked(probe, scene)
            scene.answers[probe.name] = found
            self._probes[probe.name] = _report(probe, found, verdict, detail, round(time.monotonic() - began, 1))
            self._run.say(f"{probe.name}: {found or verdict}{f' ({detail})' if detail else ''}")

    def _asked(self, probe: Probe, scene: Scene) -> tuple[str, Verdict, str]:
        """What was found, the verdict, and the words."""
        local = self._run.account.local is not None
        if probe.needs is Needs.GATEWAY and not scene.has_gateway:
            return "", Verdict.NOT_TRIED, WITHOUT_DOMAIN if self._run.domain is None else "There is no gateway."
        try:
            answer = probe.ask(self._run, scene)
        except StoppedError:
            return "", Verdict.NOT_TRIED, "stopped"
        except UndecidedError as error:
            return "", Verdict.FAILED if local else Verdict.NOT_TRIED, f"undecided: {error}"
        except Exception as error:  # noqa: BLE001 - whatever it is, the other probes are asked
            return "", Verdict.FAILED, in_words(error)
        if answer.reading == probe.expected:
            return answer.reading, Verdict.HELD, answer.detail
        # The local AWS has to do what is said of it; AWS has to do what it documents.
        failed = probe.certain or local or answer.reading not in probe.readings
        return answer.reading, Verdict.FAILED if failed else Verdict.DIFFERS, answer.detail


def _report(probe: Probe, found: str, verdict: Verdict, detail: str, seconds: float) -> ProbeReport:
    return ProbeReport(
        name=probe.name,
        question=probe.question,
        source=probe.source,
        certain=probe.certain,
        promise=probe.promise,
        expected=probe.expected,
        found=found,
        verdict=verdict,
        detail=detail,
        seconds=seconds,
    )
