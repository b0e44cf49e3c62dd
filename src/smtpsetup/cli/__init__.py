"""The command line: one file a command, each parse → one workflow → render. The only importer of click."""
