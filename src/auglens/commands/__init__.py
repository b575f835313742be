"""Tools around the pipeline, one thin file each."""
