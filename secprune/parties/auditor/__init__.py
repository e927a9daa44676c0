"""The auditor: what there is of a study, read without writing into it."""
