"""Results for people (`human`, the only importer of rich) and for programs (`json`)."""
