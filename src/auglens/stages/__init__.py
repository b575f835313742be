"""One thin file per DVC stage: load, call, save."""
