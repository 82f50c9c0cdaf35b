"""The typer application: which command has which name, and where it is."""

from __future__ import annotations

from mtlsctl.commands import schema
from mtlsctl.frame.command import at_the_beginning, before_the_command
from mtlsctl.frame.loading import Entry, Reports, group

COMMANDS = {
    "status": Entry(
        "mtlsctl.commands.status:status",
        "Show every secret, CA, anchor and domain of the stack, and what needs attention.",
    ),
    "doctor": Entry(
        "mtlsctl.commands.doctor:doctor",
        "Look for everything that is known to go wrong with a deployed stack, and say what to do.",
    ),
    "explain": Entry(
        "mtlsctl.commands.explain:explain",
        "Show what the runbook says of an error's code, an alarm or a subject. Asks no AWS.",
    ),
    "verify": Entry(
        "mtlsctl.commands.verify:verify",
        "Check a certificate from its key to the server that it is for: every link, each with what was found.",
    ),
    "revoke": Entry(
        "mtlsctl.commands.revoke:revoke",
        "Revoke one certificate: name the secret that holds it, a file, or its issuer and serial number.",
        changes=True,
    ),
    "export": Entry(
        "mtlsctl.commands.export:export",
        "Write a certificate with its private key into a file that only you can read.",
    ),
    "rotate": Entry(
        "mtlsctl.commands.rotate:rotate",
        "Rotate a secret now. A rotation that is under way already is taken up again.",
        changes=True,
    ),
}
TRUSTSTORE = {
    "show": Entry(
        "mtlsctl.commands.truststore.show:show",
        "Show the certificates that each domain trusts now, and why each is there.",
    ),
    "diff": Entry(
        "mtlsctl.commands.truststore.diff:diff",
        "Show how what runs, what is published and what should be differ.",
    ),
    "plan": Entry(
        "mtlsctl.commands.truststore.plan:plan",
        "Show what a sync would do now and why, what is left out, and which guard would stop it. It changes nothing.",
    ),
    "sync": Entry(
        "mtlsctl.commands.truststore.sync:sync",
        "Have the truststore brought in line with what is live now, as any event would.",
        changes=True,
    ),
    "rebuild": Entry(
        "mtlsctl.commands.truststore.rebuild:rebuild",
        "File everything anew from the secrets, where the bucket was emptied or edited.",
        changes=True,
    ),
    "distrust": Entry(
        "mtlsctl.commands.truststore.distrust:distrust",
        "Take an anchor out of the truststore with the next publish, whatever holds it, without overlap.",
        changes=True,
    ),
}
CREATE = {
    "client": Entry(
        "mtlsctl.commands.create:client",
        "Make a client secret: its first certificate is made at once, and renewed by a schedule.",
        changes=True,
    ),
    "ca": Entry(
        "mtlsctl.commands.create:ca",
        "Make a CA secret, to issue client certificates from: the CA is made at once, and renewed by a schedule.",
        changes=True,
    ),
}
IMPORT = {
    "client": Entry(
        "mtlsctl.commands.importing.client:client",
        "Take in a client certificate that you have, with its key, and have it renewed from now on.",
        changes=True,
    ),
    "signed": Entry(
        "mtlsctl.commands.importing.signed:signed",
        "Hand in a certificate that somebody else signed, once it is seen to be what was asked for.",
        changes=True,
    ),
}
# By name: what a group of commands is for, and its commands.
GROUPS = {
    "truststore": ("Shows the truststore, and has it brought in line.", TRUSTSTORE),
    "create": ("Make a further client secret or CA secret.", CREATE),
    "import": ("Take in a certificate that is there already.", IMPORT),
}
# By whole name, all that report something.
ENTRIES = COMMANDS | {f"{name} {it}": entry for name, (_, entries) in GROUPS.items() for it, entry in entries.items()}
REPORTS = Reports(ENTRIES)

app = group(
    COMMANDS,
    help="Keeps an eye and a hand on mtls-rotation: certificates, rotations, the truststore.",
    pretty_exceptions_enable=False,
)
app.callback()(at_the_beginning)
app.command("schema")(schema.printer(REPORTS))
for _name, (_help, _entries) in GROUPS.items():
    _group = group(_entries, help=_help)
    _group.callback()(before_the_command)
    app.add_typer(_group, name=_name)
