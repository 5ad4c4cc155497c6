"""Multi-view sequences: made elsewhere and read from folders, or made here."""
