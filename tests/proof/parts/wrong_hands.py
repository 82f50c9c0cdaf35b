"""Wrong hands: every attack on a deployed stack by those who have some right, each refused, and nothing changed."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter

from demo import sam
from localaws import LocalAws, sealed
from tests.kit import builders, change_sets
from tests.kit.deployment import DOMAIN, Deployment, await_first_rotation
from tests.kit.upstream import upstream
from tests.proof import Outcome
from tests.proof.wrong_hands import ATTACKS, Scene, attempt

DIRECTORY = sam.ROOT / "build" / "prove" / "wrong_hands"
ROUTES = "/wrong-hands/routes"


def run() -> Outcome:
    """Deploy a stack with every function, and try all of it."""
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    DIRECTORY.mkdir(parents=True)
    identity = builders.server_certificate(builders.root("Partner's server CA"))
    with (
        upstream(identity) as partner,
        LocalAws.start(log_path=DIRECTORY / "local-aws.log", enforce_iam=True) as aws,
    ):
        routes = json.dumps({"routes": {"billing": {"upstream": partner.url, "server_ca": partner.ca}}})
        parameters = sam.session(sealed(os.environ, aws.environment())).client("ssm")
        parameters.put_parameter(Name=ROUTES, Type="String", Value=routes)
        made = change_sets.deploy_gateway(
            aws,
            "wrong-hands",
            DOMAIN,
            ProxyRoutesParameter=ROUTES,
            ProxyCallers="both",
            ExternalIssuer="enabled",
            KmsIssuer="enabled",
        )
        deployment = await_first_rotation(Deployment(aws, made.stack, made.environment, made.parameters))
        deployment.await_rest(deployment.client)
        deployment.await_rest(deployment.ca)
        scene = Scene(deployment)
        assert scene.waiting.name, "before anything is looked at"
        assert scene.key_of_a_ca
        went_wrong = {str(attack): found for attack in ATTACKS if (found := attempt(scene, attack.run))}
    return Outcome(
        counts={
            "attacks": len(ATTACKS),
            "refused": len(ATTACKS) - len(went_wrong),
            "by_whom": dict(Counter(it.by for it in ATTACKS)),
        },
        failures=[f"{attack}: {found}" for attack, found in went_wrong.items()],
        notes=["Policies of resources are evaluated for services and accounts that the local AWS cannot play."],
    )
