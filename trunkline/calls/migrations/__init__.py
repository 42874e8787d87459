"""Schema steps, run by `trunkline.calls.store_schema.migrate` at every start.

Expand, then contract: a release may add tables, columns with a default, and indexes; it never drops or renames what the
release before it uses. What is no longer used is dropped one release later. So the previous release runs on the new
schema, and a rolled-back service starts. A new step: `trunkline/calls/migrations/versions/NNNN_what.py` with
`down_revision` of the newest; a test compares the result with `trunkline.calls.tables`.
"""
