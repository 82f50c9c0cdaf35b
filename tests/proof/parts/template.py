"""The templates, the pins and the layers: linted, checked, hashed, and free of what is not needed."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

from demo.gateway import architecture
from tests.proof import Outcome
from tests.repository.template import checkov, layers, linting, loading, pins


def run() -> Outcome:
    """Try all of it at full length."""
    with ThreadPoolExecutor() as pool:
        linted, checked = pool.submit(linting.run), pool.submit(checkov.run)
        lint, security = linted.result(), checked.result()
    outcome = Outcome(failures=[*lint.failures, *security.failures, *pins.failures(), *of_the_layers()])
    suppressed = Counter(it.finding.check for it in security.suppressions)
    outcome.counts = {
        "cfn_lint_rules": lint.rules,
        "cfn_lint_regions": len(linting.REGIONS),
        "cfn_lint_resources": lint.resources,
        "checkov_checks_passed": security.passed,
        "checkov_suppressed": dict(sorted(suppressed.items())),
        "packages_pinned_with_hashes": pins.counts(),
        "layers": {layer: asdict(layers.measure(layers.BUILT / layer)) for layer in layers.PACKAGES},
    }
    outcome.notes = [f"{it.finding} is suppressed: {it.reason}" for it in security.suppressions]
    outcome.notes.append(
        "checkov looks at each template as it is, and at what SAM makes of it with each condition decided either way."
    )
    return outcome


def of_the_layers() -> list[str]:
    """What is in a layer and is not needed, and what is needed and not there."""
    found = []
    loaded = loading.by_a_client().union(*map(loading.by_function, loading.PARTS))
    for layer, packages in layers.PACKAGES.items():
        built = layers.BUILT / layer
        found += [f"{layer}: {stray}" for stray in layers.strays(built, packages)]
        if (machines := layers.machines(built)) != {architecture()}:
            found.append(f"{layer} is built for {', '.join(sorted(machines))}, not for {architecture()}")
        top = built / "python"
        imported = {layers.top_of(path.relative_to(top)) for path in loaded if path.is_relative_to(top)}
        found += [f"{layer}: nothing imports {name}" for name in sorted(set(packages) - imported)]
    return found
