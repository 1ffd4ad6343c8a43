"""`python -m boostfocal`."""

from .cli import app

app(prog_name="boostfocal")
