"""AiiDA of the tests lives in a temporary folder, for this process and for every one it starts.

Importing ``aiida.orm`` creates ``$AIIDA_PATH/.aiida``, hence ``~/.aiida`` where the variable is not set; so it is
set before any test module is imported.
"""

from __future__ import annotations

import os
import tempfile

os.environ["AIIDA_PATH"] = tempfile.mkdtemp(prefix="mbetrain-tests-")
