"""``esps-portal deploy``: the files to run a portal with, printed or written."""

from __future__ import annotations

from pathlib import Path

import click

from esps_portal.cli.errors import exit_with_error
from esps_portal.cli.output import has_stdout, require_stdout
from esps_portal.deployment.kinds import KINDS, Kind
from esps_portal.protocol.escape import visible

_HELP = """\
Print the files to run a portal with, or write them.

Without KIND the kinds are listed. Each file is printed after a line
"# file: NAME". What to adapt is said in the files; the whole is explained
by esps-portal spec deployment.

\b
Examples:
  esps-portal deploy systemd
  esps-portal deploy kubernetes | kubectl apply -f -
  esps-portal deploy container --write .
"""


@click.command("deploy", help=_HELP)
@click.argument("kind", required=False, type=click.Choice(list(KINDS)))
@click.option(
    "--write",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Write the files to DIR, which is made where it is missing.",
)
@click.option("--force", is_flag=True, help="Let --write replace files.")
def deploy_command(kind: str | None, folder: Path | None, *, force: bool) -> None:
    """Print the files to run a portal with, or write them."""
    if force and folder is None:
        raise click.UsageError("--force is for --write DIR")
    if kind is None:
        if folder is not None:
            raise click.UsageError(f"--write needs a KIND: {', '.join(KINDS)}")
        _list(list(KINDS.values()))
    elif folder is None:
        _print(KINDS[kind])
    else:
        _write(KINDS[kind], folder, force=force)


def _list(kinds: list[Kind]) -> None:
    require_stdout()
    width = max(len(kind.name) for kind in kinds)
    for kind in kinds:
        click.echo(f"{kind.name:{width}}  {kind.summary}")
        click.echo(f"{'':{width}}  {' '.join(kind.files)}")


def _print(kind: Kind) -> None:
    require_stdout()
    for file in kind.files:
        click.echo(f"# file: {file}\n{kind.read(file)}", nl=False)


def _write(kind: Kind, folder: Path, *, force: bool) -> None:
    """Write all files, or none where one is there already and ``force`` is not set."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        there = [path for file in kind.files if _is_there(path := folder / file)]
        if there and not force:
            exit_with_error(f"{visible(str(there[0]))} exists; replace it with --force")
        for file in kind.files:
            with (folder / file).open("w" if force else "x", encoding="utf-8", newline="") as to:
                to.write(kind.read(file))
            if has_stdout():
                click.echo(f"wrote {visible(str(folder / file))}")
    except OSError as error:
        exit_with_error(f"cannot write {visible(str(error.filename))}: {error.strerror}")


def _is_there(path: Path) -> bool:
    """Whether something has that name, be it a link to nothing."""
    return path.is_symlink() or path.exists()
