"""A study's metric report against the expected one: values → verdicts → text. No disk. docs/check.md."""
