-- Write the steps of an operation; unchanged rows are not written.
INSERT INTO steps (operation_id, position, name, title, state, started_at, finished_at, message)
SELECT :operation_id, step.* FROM unnest(
    :step_positions::int[], :step_names::text[], :step_titles::text[], :step_states::text[],
    :steps_started_at::timestamptz[], :steps_finished_at::timestamptz[],
    :step_messages::text[]) step
ON CONFLICT (operation_id, position) DO UPDATE SET
    name = excluded.name, title = excluded.title, state = excluded.state,
    started_at = excluded.started_at, finished_at = excluded.finished_at,
    message = excluded.message
WHERE (steps.state, steps.started_at, steps.finished_at, steps.message) IS DISTINCT FROM
    (excluded.state, excluded.started_at, excluded.finished_at, excluded.message)
