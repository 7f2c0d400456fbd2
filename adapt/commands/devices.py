"""Phones and boards: `adapt devices`."""

from __future__ import annotations

from pathlib import Path

import click

from adapt.commands.bundle import bundle
from adapt.commands.terminal import UNKNOWN, columns, json_text
from adapt.errors import UsageError

__all__ = ["devices"]


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def devices(context: click.Context, as_json: bool) -> None:
    """List the devices that --device can name."""
    if context.invoked_subcommand is not None:
        return
    from adapt.config import load_config
    from adapt.fleet.listing import reachable

    found = reachable(load_config().home)
    if as_json:
        rows = [
            {"device": f.name, "kind": f.kind, "state": f.state, "about": f.about} for f in found
        ]
        click.echo(json_text(rows))
        return
    heads = ("device", "kind", "state", "about")
    lines = [heads, *((f.name, f.kind, f.state, f.about or UNKNOWN) for f in found)]
    click.echo(columns(lines, left=range(4)))


@devices.command()
@click.argument("name")
@click.argument("address", metavar="HOST:PORT")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=None,
    help="New folder for what the board needs.  [default: NAME-agent]",
)
def enroll(name: str, address: str, output: Path | None) -> None:
    """Make certificates and a token for a Linux board that will be called NAME.

    Its agent will listen at HOST:PORT, and take nobody but this host.
    """
    from adapt.config import load_config
    from adapt.fleet.boards import enroll as make

    folder = output or Path(f"{name}-agent")
    board = make(load_config().home, name, address, folder)
    port = address.rpartition(":")[2]
    click.echo(
        f"{board.name} is enrolled. Move {folder} to the board, where nobody else can read it,"
        f" and start there:\n\n"
        f"  device-agent --listen 0.0.0.0:{port} --tls {folder.name}"
        f" --token-file {folder.name}/token\n\n"
        f"Then use it with: --device {board.name}"
    )


devices.add_command(bundle)


@devices.command()
@click.option("--device", required=True, help="The device, by its serial number.")
def clean(device: str) -> None:
    """Remove all that adapt has put on a phone."""
    from adapt.config import load_config
    from adapt.fleet import bundle
    from adapt.fleet.claim import held, open_link, refuse_unknown

    home = load_config().home
    refuse_unknown(device, home, None)
    if device == "local":
        raise UsageError("nothing is put on this machine", "Name a phone.")
    with held(device, home), open_link(device, home) as link:
        bundle.clean(link)
