"""Sphinx configuration.  Build with ``sphinx-build -W -b html docs docs/_build/html``."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

# The reference pages import the package, and with it AiiDA, which must find no profile and make none.
os.environ["AIIDA_PATH"] = tempfile.mkdtemp(prefix="mbetrain-docs-")
sys.path.insert(0, str(Path(__file__).parent / "extensions"))

from aiida_mbetrain import __version__

project = "aiida-mbetrain"
author = "the aiida-mbetrain developers"
project_copyright = author
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "mathml", "generated_reference", "public_interface", "demo_report"]
myst_enable_extensions = ["dollarmath", "deflist", "colon_fence"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
nitpicky = True
nitpick_ignore_regex = [  # what other packages define: no network is needed to build the pages
    ("py:.*", r"(?!aiida_mbetrain)\w+(\.\w+)+"),
    ("py:class", r"aiida_mbetrain\.data\.\w+\.\w+Data"),  # nodes have a page of their own
    ("py:class", r"aiida_mbetrain\.errors\.\w+"),  # listed among the exit codes
    ("py:class", r"aiida_mbetrain\.science\.(io\.structure_files\.ReadOptions|stages\.memory_use\.T)"),  # private
    ("py:class", r"Atoms|FloatArray|IntArray|NDArray|Path|WorkGraph"),
]

autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"

html_theme = "furo"
html_title = "aiida-mbetrain"
html_static_path = ["static"]
html_css_files = ["style.css"]
html_math_renderer = "mathml"
