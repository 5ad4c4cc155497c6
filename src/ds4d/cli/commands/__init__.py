"""The commands, one module each: `run` takes the arguments and a console, and returns an `Outcome`."""
