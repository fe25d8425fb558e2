"""The ``loopaudit`` command: verbs, errors, exit codes. Nothing heavy is imported up here."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from ..recommenders.errors import CannotWrite, UserError
from ..reports.console import EXIT_CODES, Broke, Console, Interrupted, describe, log
from . import auditing, recommenders, simulating, trust

_EPILOG = "Exit codes: " + "; ".join(f"{code} {means}" for code, means in EXIT_CODES.items()) + "."

app = typer.Typer(
    name="loopaudit",
    help="Simulate long feedback loops around a recommender, and audit what they do to people.",
    epilog=_EPILOG,
    add_completion=False,
    rich_markup_mode=None,  # rich would cost help more than all the rest
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"loopaudit {version('loopaudit')}")
        raise typer.Exit


@app.callback()
def _every_command(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    pass


_COMMANDS: dict[str, Callable[..., int]] = {  # in the order of --help
    "demo": auditing.demo,
    "init": simulating.init,
    "simulate": simulating.simulate,
    "audit": auditing.audit,
    "report": auditing.report,
    "compare": auditing.compare,
    "list": recommenders.list_,
    "check": recommenders.check,
    "evaluate": recommenders.evaluate,
    "selftest": trust.selftest,
    "study": trust.study_,
    "realism": trust.realism_,
    "watch": simulating.watch,
    "doctor": trust.doctor,
}
for _name, _command in _COMMANDS.items():
    app.command(_name)(_command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; the one place that prints errors."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        command = typer.main.get_command(app)
        code = int(command.main(given, prog_name="loopaudit", standalone_mode=False) or 0)
        return _failed(given, 130, "interrupted", "") if code == 130 else code
    except UserError as error:
        return _failed(given, 2, "error", str(error))
    except (Interrupted, KeyboardInterrupt, typer.Abort) as error:
        return _failed(given, 130, "interrupted", str(error))
    except (Broke, CannotWrite) as error:
        return _failed(given, 3, "broke", str(error))
    except BrokenPipeError:  # `loopaudit list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        usage = getattr(error, "format_message", None)  # typer's own, whichever click it carries
        if usage is not None:
            context = getattr(error, "ctx", None)
            if not usage().strip() or type(error).__name__ == "NoArgsIsHelpError":
                print(context.get_help() if context else _EPILOG)
                return 2
            hint = f" See `{context.command_path} --help`." if context else ""
            said = usage().replace("\n", " ").rstrip(".")
            return _failed(given, 2, "error", f"{said}.{hint}")
        return _failed(
            given, 3, "broke", f"{describe(error)}; the traceback is in {log(error, None)}."
        )


def _failed(given: Sequence[str], code: int, word: str, text: str) -> int:
    print(f"{word}: {text} (exit {code})" if text else f"{word} (exit {code})", file=sys.stderr)
    if "--json" in given:
        Console(given[0], as_json=True).finish(code, word, error=text)
    return code
