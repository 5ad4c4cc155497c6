"""The command line: `ds4d generate | render | eval | sample | export | info`."""
