"""The command line: `ds4d COMMAND ...`.

Every command is one module of `ds4d.cli.commands`; `ds4d.cli.app` lists them and calls them.
"""

from ds4d.cli.app import COMMANDS as COMMANDS
from ds4d.cli.app import main as main
