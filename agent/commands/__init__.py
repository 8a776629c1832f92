"""One module a subcommand: EXAMPLE, arguments(parser), run(options) -> exit code."""
