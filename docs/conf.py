"Sphinx settings of the documentation site. `docs/build.py` runs it on the processed notebooks."

import ccf_batch

project = "ccf_batch"
author = "The ccf_batch authors"
copyright = "2026, The ccf_batch authors"
release = version = ccf_batch.__version__

extensions = ["myst_nb"]
nb_execution_mode = "off"  # pages show the outputs saved in the notebooks
nb_merge_streams = True
nb_render_markdown_format = "gfm"  # tables
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
suppress_warnings = ["mystnb.unknown_mime_type", "myst.header"]

html_theme = "furo"
html_title = "ccf_batch"
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
