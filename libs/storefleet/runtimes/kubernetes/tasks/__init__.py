"""Tasks of a store (dump, restore, count orders): Jobs, their results, and the records of dumps."""
