"""An evaluation of any task: the runs to compare with are read first, and what was measured is not lost at the end."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tfvoice.errors import TfvoiceError
from tfvoice.report import html
from tfvoice.report.html import ComparedRun, Row
from tfvoice.run import Run


class UnwrittenReportError(TfvoiceError):
    """A report that is complete and cannot be written.

    Attributes:
      report: the report.
    """

    def __init__(self, sentence: str, report: dict[str, Any]):
        super().__init__(sentence)
        self.report = report


class Measured(NamedTuple):
    """What a task found about a run.

    Attributes:
      content: of the report, plain values.
      write_page: writes the page of the whole report beside other runs, and returns its path.
    """

    content: dict[str, Any]
    write_page: Callable[[dict[str, Any], list[ComparedRun]], Path]


def evaluate(
    run: Run,
    data_dir: str | Path | None,
    split: str,
    compare: Sequence[str],
    metric: str,
    row: Row,
    measure: Callable[[str | Path, str], Measured],
) -> tuple[dict[str, Any], Path]:
    """Measures a run on a split, and writes `report/eval-<split>.json` and `.html` into it.

    Reports of other data than those of the run have the name of the data as well, see `html.report_name`.

    Args:
      run: with its weights.
      data_dir: the data; None: those that the run was trained on.
      split: name of the split.
      compare: folders of runs to compare with in the page, by their reports of this split.
      metric: a key of every report of the task.
      row: makes the cells of a run in the table of a comparison.
      measure: from the data and the split to what is found.

    Returns:
      The report, and the path of the page.

    Raises:
      UnwrittenReportError: the report cannot be written.
      TfvoiceError: the data, the split or a run to compare with cannot be used.
    """
    data_dir = run.data_dir(data_dir)
    compared = html.load_compared(run.run_dir, compare, split, metric, row, data_dir)
    content, write_page = measure(data_dir, split)
    report = {"split": split, "data": run.data_info(data_dir)["data"], "checkpoint": run.loaded, **content}
    try:
        run.write_report(html.report_name(run, report), report)
        return report, write_page(report, compared)
    except OSError as error:
        fact = f"{run.run_dir / 'report'}: the report was not written ({error.strerror or error})"
        raise UnwrittenReportError(f"{fact}; copy the run to where you can write.", report) from error
