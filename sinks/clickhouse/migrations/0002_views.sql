-- Views that stay right whatever is inserted twice, or again in another cut: each of them first reduces the rows to one
-- per record or per (root_key, number), with functions that a repetition cannot change (uniqExact, argMax, any of equals).
-- None needs FINAL, none is fed by inserts.

CREATE OR REPLACE VIEW v_orders
COMMENT 'The latest state of each order, subscription or lone payment' AS
SELECT
    t.root_key AS root_key,
    any(t.root_kind) AS root_kind,
    any(t.environment) AS environment,
    any(t.connection) AS connection,
    any(t.root_id) AS root_id,
    argMax(t.to_status, (t.number, t._offset)) AS status,
    max(t.number) AS transitions,
    argMax(t.paid, (t.number, t._offset)) AS paid,
    argMax(t.refunded, (t.number, t._offset)) AS refunded,
    argMax(t.currency, (t.number, t._offset)) AS currency,
    argMax(t.contact_key, (t.contact_key != '', t.number, t._offset)) AS contact_key,
    argMax(t.payer_email, (t.payer_email != '', t.number, t._offset)) AS payer_email,
    max(NOT t.legal) AS had_illegal_step,
    max(t.orphan) AS orphan,
    max(t.test) AS test,
    min(t.provider_time) AS first_event_at,
    max(t.provider_time) AS last_event_at,
    max(t.at) AS last_applied_at
FROM transitions AS t
GROUP BY t.root_key;

CREATE OR REPLACE VIEW v_counts
COMMENT 'How many records of each sort there are, by measure and detail' AS
SELECT 'received' AS measure, '' AS detail, uniqExact((_topic, _topic_id, _partition, _offset)) AS value FROM events
UNION ALL
SELECT 'distinct_events', '', uniqExact((environment, connection, provider, event_id)) FROM events
UNION ALL
SELECT m.1, '', m.2
FROM
(
    SELECT arrayJoin([
        ('transitions', uniqExact((_topic_id, _partition, _offset))),
        ('changed', uniqExactIf((_topic_id, _partition, _offset), disposition = 'CHANGED')),
        ('recorded', uniqExactIf((_topic_id, _partition, _offset), disposition = 'RECORDED')),
        ('late', uniqExactIf((_topic_id, _partition, _offset), disposition = 'LATE')),
        ('duplicates', uniqExactIf((_topic_id, _partition, _offset), disposition = 'DUPLICATE')),
        ('ignored', uniqExactIf((_topic_id, _partition, _offset), disposition = 'IGNORED')),
        ('illegal', uniqExactIf((_topic_id, _partition, _offset), NOT legal)),
        ('orphans', uniqExactIf((_topic_id, _partition, _offset), orphan)),
        ('orders', uniqExact(root_key))]) AS m
    FROM transitions
)
UNION ALL
SELECT 'dead_letters', '', uniqExact(id) FROM dead_letters
UNION ALL
SELECT 'dead_letters_by_cause', cause, uniqExact(id) FROM dead_letters GROUP BY cause
UNION ALL
SELECT 'commands', '', uniqExact((_topic_id, _partition, _offset)) FROM commands
UNION ALL
SELECT 'distinct_commands', '', uniqExact(command_id) FROM commands
UNION ALL
SELECT 'deliveries', '', uniqExact((_topic_id, _partition, _offset)) FROM deliveries
UNION ALL
SELECT 'deliveries_by_outcome', outcome, uniqExact((_topic_id, _partition, _offset)) FROM deliveries GROUP BY outcome
UNION ALL
SELECT 'config_versions', '', uniqExact(version) FROM config_versions
UNION ALL
SELECT 'undecodable', '', uniqExact((_topic, _topic_id, _partition, _offset)) FROM undecodable;

CREATE OR REPLACE VIEW v_revenue_daily
COMMENT 'Money captured and refunded by the day (UTC) of the provider''s time; sandbox and live, and currencies, apart; no test events' AS
SELECT
    toDate(s.provider_time) AS day,
    s.environment AS environment,
    s.connection AS connection,
    s.currency AS currency,
    sum(s.captured_step) AS captured,
    sum(s.refunded_step) AS refunded,
    sum(s.captured_step) - sum(s.refunded_step) AS net,
    countIf(s.captured_step > 0) AS captures,
    countIf(s.refunded_step > 0) AS refunds
FROM
(
    SELECT
        n.environment, n.connection, n.currency, n.provider_time,
        n.paid_total - lagInFrame(n.paid_total) OVER w AS captured_step,
        n.refunded_total - lagInFrame(n.refunded_total) OVER w AS refunded_step
    FROM
    (
        SELECT
            t.root_key AS root_key, t.currency AS currency, t.number AS number,
            any(t.environment) AS environment, any(t.connection) AS connection, any(t.provider_time) AS provider_time,
            max(ifNull(t.paid, toDecimal128(0, 9))) AS paid_total,
            max(ifNull(t.refunded, toDecimal128(0, 9))) AS refunded_total
        FROM transitions AS t
        WHERE NOT t.test AND t.currency != '' AND t.paid IS NOT NULL AND t.refunded IS NOT NULL
        GROUP BY t.root_key, t.currency, t.number
    ) AS n
    WINDOW w AS (PARTITION BY n.root_key, n.currency ORDER BY n.number ASC ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
) AS s
GROUP BY day, environment, connection, currency
HAVING captured != 0 OR refunded != 0;

CREATE OR REPLACE VIEW v_order_funnel
COMMENT 'How far the orders came that began on a day (UTC); sandbox and live apart; no test events' AS
SELECT
    toDate(o.first_at) AS day,
    o.environment AS environment,
    o.connection AS connection,
    count() AS orders,
    countIf(o.approved OR o.captured) AS approved,
    countIf(o.captured) AS captured,
    countIf(o.refunded) AS refunded,
    countIf(o.failed) AS failed,
    countIf(o.ended AND NOT o.captured) AS ended_unpaid,
    round(quantileIf(0.5)(dateDiff('second', o.approved_at, o.captured_at), o.approved AND o.captured)) AS seconds_to_capture_p50
FROM
(
    SELECT
        t.root_key AS root_key,
        any(t.environment) AS environment,
        any(t.connection) AS connection,
        min(t.provider_time) AS first_at,
        max(t.to_status IN ('APPROVED', 'AUTHORIZED')) AS approved,
        minIf(t.provider_time, t.to_status IN ('APPROVED', 'AUTHORIZED')) AS approved_at,
        max(t.to_status IN ('PAID', 'PARTIALLY_PAID')) AS captured,
        minIf(t.provider_time, t.to_status IN ('PAID', 'PARTIALLY_PAID')) AS captured_at,
        max(t.to_status IN ('REFUNDED', 'PARTIALLY_REFUNDED')) AS refunded,
        max(t.to_status = 'FAILED') AS failed,
        max(t.to_status IN ('CANCELLED', 'EXPIRED', 'VOIDED')) AS ended
    FROM transitions AS t
    WHERE NOT t.test AND t.root_kind = 'ORDER' AND t.disposition = 'CHANGED'
    GROUP BY t.root_key
) AS o
GROUP BY day, environment, connection;
