"""One module a subcommand: EXAMPLE, arguments(parser), run(options) -> exit code; EXAMPLES of its verbs."""

from agent.common.command_line import Program

PROGRAM = Program(
    name="nabz-agent",
    about="Nabz on a center's gateway.",
    example="nabz-agent probe link --json",
    package="agent.commands",
    groups={
        "Measure": {
            "run": "measure, keep and send until stopped",
            "probe": "measure one thing once, now, and explain it",
            "status": "what the running agent last measured, and what waits to be sent",
        },
        "Set up": {
            "enrol": "make this gateway's keys and join a center with a one-time token",
            "doctor": "check this installation and say what is missing",
            "update": "which program runs here, and which releases there are for it: status, check, take",
            "support-bundle": "one file for whoever helps from afar: state, settings and log without secrets",
            "seats": "list, approve, accept, forget or rename the seats of this center",
            "seat-key": "print the key that seat PCs of this center use",
        },
    },
)
