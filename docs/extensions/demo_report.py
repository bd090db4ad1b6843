"""The report of the demo as a page of the documentation.

``sphinx-build -D demo_dataset=mbetrain-demo/training_set.hdf5 ...`` writes it and links to it; without the dataset
the directive ``demo-report`` leaves nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

PAGE = "demo_report.html"


class DemoReport(SphinxDirective):
    """A link to the report."""

    def run(self) -> list[nodes.Node]:
        """One paragraph, or none."""
        if not self.config.demo_dataset:
            return []
        up = "../" * self.env.docname.count("/")
        link = nodes.reference("", "the report of the demo", refuri=f"{up}{PAGE}", internal=False)
        return [nodes.paragraph("", "", nodes.Text("An example is "), link, nodes.Text("."))]


def write(app: Any, exception: Exception | None) -> None:
    """Write the report beside the pages."""
    if exception is None and app.config.demo_dataset:
        from aiida_mbetrain.report import write_report

        write_report(app.config.demo_dataset, Path(app.outdir) / PAGE, file_name="training_set.hdf5")


def setup(app: Any) -> dict[str, Any]:
    """Register the directive and the configuration value."""
    app.add_config_value("demo_dataset", "", "env")
    app.add_directive("demo-report", DemoReport)
    app.connect("build-finished", write)
    return {"parallel_read_safe": True}
