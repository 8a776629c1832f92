"""The steps from each schema to the next, in order (Alembic). A step that has been released is never edited."""
