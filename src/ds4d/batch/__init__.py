"""Many videos: manifests, claims between workers, processes, storage, a board."""
