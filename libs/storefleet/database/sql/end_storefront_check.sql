-- End the claim of a check by scheduling the next one. Returns no row when the claim is over.
UPDATE storefront_checks SET
    due_at = now() + make_interval(secs => :pause_s * (0.9 + 0.2 * random()))
WHERE store_id = :store_id AND due_at = :claimed_until
RETURNING 1
