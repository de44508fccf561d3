"""``embedge export --report``: the page about an export. Needs the extra ``embedge[report]``."""
