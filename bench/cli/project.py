"""`chipbench project`: what a chip that was not measured would do, from one that was."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.asked import Asked
from bench.cli.options import (
    CONTEXT,
    catalogue_from,
    chip_from,
    models_from,
    shared_options,
    show,
    skip_bad_option,
)
from bench.cli.prices import by_chip, price_option
from bench.errors import InvalidRequest, RecordError
from bench.workloads import WORKLOADS

if TYPE_CHECKING:
    from bench.analysis.source import Source


@click.command("project", context_settings=CONTEXT)
@click.option(
    "--from",
    "source",
    required=True,
    metavar="RECORD|published:CHIP",
    help="What was measured: a record, a folder of records of one device, latest, or what others measured.",
)
@click.option("--to", "target", required=True, metavar="CHIP", help="The chip that was not measured.")
@click.option(
    "--workload",
    type=click.Choice(list(WORKLOADS)),
    help="Only what was measured for this; llm sums up a model's steps.",
)
@click.option("--model", "model_id", metavar="ID", help="The model of workload llm, such as deepseek-r1.")
@price_option
@skip_bad_option
@shared_options()
def command(
    *,
    source: str,
    target: str,
    workload: str | None,
    model_id: str | None,
    results_dir: Path,
    **options: Any,  # noqa: ANN401
) -> None:
    """Carry measured rates over to a chip that was not measured.

    Each rate is scaled by what is published of both chips: FLOP per clock, clock, memory bandwidth,
    multiprocessors and power. It comes with a range, and with what limits it there. A chip that lost arithmetic
    but no memory, as the H20 did, loses much of some products and nothing of others.

    \b
    Examples:
      chipbench project --from results/h100-sxm5-80gb --to h20
      chipbench project --from latest --to h20 --workload llm --model deepseek-r1
      chipbench project --from published:h100 --to h20 --price h100=2.99 --price h20=1.10
    """  # noqa: D301 - \b is Click's mark for a block to keep
    from bench.analysis.in_use import projected_in_use  # noqa: PLC0415 - `--help` must not load it
    from bench.analysis.project import project  # noqa: PLC0415
    from bench.analysis.source import source_of  # noqa: PLC0415
    from bench.report.project import project_view  # noqa: PLC0415

    if (workload == "llm") != (model_id is not None):
        message = "--workload llm and --model go together"
        raise click.UsageError(message)
    catalogue = catalogue_from(options["specs_dir"])
    model = None if model_id is None else models_from(options["specs_dir"]).find(model_id)
    asked = Asked(catalogue, results_dir, options["specs_dir"], skip_bad=options["skip_bad"])
    side = asked.side(source).side
    chip = chip_from(catalogue, target)
    if side.kind == "published":
        message = (
            f"{source} is a chip's sheet, with no rate to carry over; published:{source} is what others measured"
        )
        raise InvalidRequest(message)
    found = project(_measured_for(source_of(side), workload), chip)
    used = [chip.id, *([side.chip.id] if side.chip else [])]
    prices = by_chip(options["prices"], catalogue, used)
    pair = None if model is None else projected_in_use(model, found, prices)
    if model is not None and pair is not None and not any(one.seconds for one in pair.measured.times):
        message = f"{side.label}: holds no step of {model.id} whole; "
        raise RecordError(message + f"'chipbench run --workload llm --model {model.id}' measures them")
    show(project_view(found, prices, model, pair), options["format_name"])


def _measured_for(source: "Source", workload: str | None) -> "Source":
    """Return a source with what was measured for a workload; what others publish are all plain products."""
    if workload is None:
        return source
    of, plain = source.side.workloads, frozenset({"gemm"})
    wanted = tuple(one for one in source.observed if workload in of.get(one.cell, plain))
    if not wanted:
        message = f"{source.side.label}: holds nothing of workload {workload}; "
        advice = f"'chipbench run --workload {workload}' measures it"
        raise RecordError(
            message + (advice if source.side.is_measured else "what others measured are plain products")
        )
    left = tuple(one for one in source.left_out if workload in of.get(one.cell, plain))
    return source._replace(observed=wanted, left_out=left)
