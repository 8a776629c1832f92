"""One module a subcommand: EXAMPLE, arguments(parser), run(options) -> exit code; EXAMPLES of its verbs."""

from agent.common.command_line import Program

PROGRAM = Program(
    name="nabz-collector",
    about="Nabz at the center of it all.",
    example="nabz-collector center list --json",
    package="collector.commands",
    groups={
        "Run": {
            "serve": "receive, judge, show and alert until stopped",
            "pilot": "serve, and run this very machine as the first center",
            "ingest": "one more process that takes readings, beside serve",
            "listener": "the pages, or enrolment, in a process of its own, beside serve",
            "work": "one more machine for upkeep, archive, audit and messages, beside serve",
            "job": "upkeep, archive, audit and messages: who does each, how it went, what waits: list",
            "measure": "run the measurement server that gateways test their speed against",
            "broker": "run the embedded MQTT broker by itself",
            "broker-config": "settings for a broker of another make: mosquitto or nats",
            "scale": "what so many centers need: cores, memory, disk, rupees of disk a center-year",
            "simulate": "a fleet of simulated centers that speaks the real wire",
        },
        "Centers": {
            "center": "the register of centers: import, add, list, show, facts by day, and their history",
            "owner": "the parties that own centers: list, show, set",
            "calendar": "holidays, other hours, closures, maintenance, load-shedding: list, add, confirm, withdraw",
            "flag": "what centers are below now: list",
            "incident": "incidents: list, show, ack, assign, note, snooze, resolve, merge, split …",
        },
        "Gateways": {
            "gateway": "all gateways at once: how far they are, and which need a hand: funnel, prepare",
            "update": "releases for gateways: key, init, add, sign, publish, ring, withdraw, status, root",
            "settings": "what gateways are set to, in layers: set, unset, show, diff, history, status, retry, keys",
        },
        "Who may come in": {
            "token": "a one-time token with which a gateway joins a center",
            "enrolment": "gateways that wait for a second person's approval: list, approve, refuse",
            "device": "gateways with their certificates: list, revoke",
            "server": "the measurement servers: add, list, revoke",
            "ca": "the certificate authority inside: show, rollover, retire, issue",
        },
        "People": {
            "person": "who may log in, as what and for which centers: add, list, password, role, end-sessions, remove",
            "key": "keys of programs that ask the API: add, list, revoke",
            "contact": "whom to call about which centers: set, list, remove",
        },
        "Who is told": {
            "window": "planned work of which nobody is told: list, add, end",
            "alert": "the messages that were sent, or wait: list, test",
            "route": "which incidents go by which escalation plan: list, add, remove, test",
            "plan": "escalation plans: list, set, remove",
            "rota": "who is on duty: list, add, remove, override, who",
        },
        "Months and their proof": {
            "standard": "the criteria as data: check, show, try, list, propose, adopt",
            "report": "a center's month: each criterion's verdict with its numbers",
            "dispute": "what operators dispute of a month: file, list, show, test, decide, withdraw",
            "visits": "random visits, drawn so that anybody can redo it: publish, draw, list, show, check",
            "inspection": "what inspectors saw at centers: form, record, list, withdraw",
            "verify": "a center's month derived anew from the signed bytes, and compared with all that is stored",
            "log": "the transparency log: checkpoint, key, prove, check, cosign",
            "witness": "cosign another's transparency log, once it is shown to have only grown",
            "integrity": "where evidence does not fit: each center's score of a month with its reasons, visits first",
            "evidence": "what is held: every reading's id and hash",
        },
        "Keep": {
            "archive": "days that are over, into files that others read too; and what lies there",
            "backup": "all that makes this server in one encrypted file, while it runs",
            "restore": "a server from a backup on a bare machine, or an empty database from a copy",
            "drill": "the newest backup restored beside the running system, compared, thrown away",
            "move": "all of one database into another, checked at both ends",
            "migrate": "the database's tables to what this program needs",
            "completion": "what a shell needs to complete commands, verbs and options",
        },
    },
)
