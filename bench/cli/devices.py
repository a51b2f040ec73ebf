"""`chipbench devices`: what is here to measure."""

from pathlib import Path

import click

from bench.cli.options import CONTEXT, catalogue_from, shared_options, show


@click.command("devices", context_settings=CONTEXT)
@click.option("--gpu", "index", type=click.IntRange(min=0), metavar="N", help="Only the GPU of this index.")
@click.option("--template", "as_template", is_flag=True, help="Print a chip file to fill in for it instead.")
@shared_options(results=False)
def command(*, index: int | None, as_template: bool, format_name: str, specs_dir: Path | None) -> None:
    """Show the GPUs here, which chip each is, and whether they are fit to measure.

    A chip is known by its PCI id, its number of SMs and its memory together, never by its name. Nothing is changed
    or measured, and no serial number or UUID is printed.

    \b
    Examples:
      chipbench devices
      chipbench devices --format json
      chipbench devices --gpu 0 --template > my-specs/chips/my-gpu.toml
    """  # noqa: D301 - \b is Click's mark for a block to keep
    from bench.devices.nvidia.presence import survey, template_of  # noqa: PLC0415 - `--help` must not load it
    from bench.report.devices import devices_view  # noqa: PLC0415

    presence = survey(catalogue_from(specs_dir).all(), index=index)
    if as_template:
        click.echo(template_of(presence), nl=False)
    else:
        show(devices_view(presence), format_name)
