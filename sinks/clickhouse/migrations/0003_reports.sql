-- The views of the reports. Each takes environment ('live' or 'sandbox'), store (the connection's name; '' is all), since
-- and until (the end is not part of the span; YYYY-MM-DD, or YYYY-MM-DD HH:MM:SS, UTC), so that nobody adds up the two worlds
-- by forgetting a WHERE. Test events never count. Money is never added over currencies. Of repeated rows they see one,
-- because each reduces them first by what names a record or a fact: min, max, argMax, uniqExact, and sorted arrays without neighbours that are equal.
-- The comment of a view is its definition: the command and the documentation print it.

CREATE OR REPLACE VIEW v_money_steps
COMMENT 'Each amount captured or refunded, when its event changed the totals of its order, subscription or lone payment; the sum over a root is its newest total. No test events; sandbox and live stand side by side' AS
SELECT
    g.environment AS environment,
    g.connection AS connection,
    g.root_key AS root_key,
    g.kind AS kind,
    g.contact_key AS contact_key,
    g.currency AS currency,
    s.1 AS at,
    s.2 AS captured,
    s.3 AS refunded
FROM
(
    SELECT
        t.environment AS environment,
        t.connection AS connection,
        t.root_key AS root_key,
        t.root_kind AS kind,
        t.currency AS currency,
        argMax(t.contact_key, (t.contact_key != '', t.number)) AS contact_key,
        arrayCompact(arraySort(groupArray((t.number, t.provider_time, assumeNotNull(t.paid), assumeNotNull(t.refunded))))) AS totals
    FROM transitions AS t
    WHERE NOT t.test AND t.currency != '' AND t.paid IS NOT NULL AND t.refunded IS NOT NULL AND t.disposition NOT IN ('DUPLICATE', 'IGNORED')
    GROUP BY environment, connection, root_key, kind, currency
) AS g
ARRAY JOIN arrayMap((now, before) -> (now.2, now.3 - before.3, now.4 - before.4),
    g.totals,
    arrayPushFront(arrayPopBack(g.totals), (toInt64(0), toDateTime64('1970-01-01 00:00:00', 3, 'UTC'), toDecimal128(0, 9), toDecimal128(0, 9)))) AS s
WHERE s.2 != 0 OR s.3 != 0;

CREATE OR REPLACE VIEW v_revenue
COMMENT 'Money captured and refunded by month (UTC, by the provider''s time), store, currency and kind of root. net is captured less refunded; a refund counts in its own month, not in that of its payment' AS
SELECT
    toStartOfMonth(s.at) AS month,
    s.connection AS store,
    s.kind AS kind,
    s.currency AS currency,
    sum(s.captured) AS gross,
    sum(s.refunded) AS refunds,
    gross - refunds AS net,
    countIf(s.captured > 0) AS captures,
    countIf(s.refunded > 0) AS refund_count
FROM v_money_steps AS s
WHERE s.environment = {environment:String} AND ({store:String} = '' OR s.connection = {store:String})
    AND s.at >= parseDateTime64BestEffort({since:String}, 3, 'UTC') AND s.at < parseDateTime64BestEffort({until:String}, 3, 'UTC')
GROUP BY month, store, kind, currency;

CREATE OR REPLACE VIEW v_revenue_days
COMMENT 'Money captured and refunded by day (UTC, by the provider''s time), store and currency; net is captured less refunded' AS
SELECT
    toDate(s.at) AS day,
    s.connection AS store,
    s.currency AS currency,
    sum(s.captured) AS gross,
    sum(s.refunded) AS refunds,
    gross - refunds AS net
FROM v_money_steps AS s
WHERE s.environment = {environment:String} AND ({store:String} = '' OR s.connection = {store:String})
    AND s.at >= parseDateTime64BestEffort({since:String}, 3, 'UTC') AND s.at < parseDateTime64BestEffort({until:String}, 3, 'UTC')
GROUP BY day, store, currency;

CREATE OR REPLACE VIEW v_recovery
COMMENT 'Payments that failed and came after all. A failure is a row of failed payments of one order or subscription without a payment between them; it is recovered if a payment follows within 7 days of its first one. saved is the money of those payments, tries the failed payments. open failures are younger than 7 days and unpaid; rate leaves them out. Month, store and currency are those of the first failed payment' AS
SELECT
    toStartOfMonth(e.failed_at) AS month,
    e.store AS store,
    e.currency AS currency,
    count() AS failures,
    sum(e.tries) AS tries,
    countIf(e.recovered) AS recovered,
    countIf(NOT e.recovered AND e.failed_at > now64(3, 'UTC') - INTERVAL 7 DAY) AS open,
    if(failures = open, NULL, round(recovered / (failures - open), 4)) AS rate,
    sumIf(e.amount, e.recovered) AS saved,
    if(recovered = 0, NULL, round(quantileExactIf(0.5)(e.hours, e.recovered), 1)) AS hours_p50
FROM
(
    SELECT
        f.root_key,
        any(f.store) AS store,
        min(f.at) AS failed_at,
        uniqExact(f.number) AS tries,
        p.at AS paid_at,
        if(any(p.currency) != '', any(p.currency), argMin(f.currency, (f.at, f.number))) AS currency,
        any(p.amount) AS amount,
        dateDiff('second', failed_at, paid_at) / 3600 AS hours,
        paid_at >= failed_at AND paid_at <= failed_at + INTERVAL 7 DAY AS recovered
    FROM
    (
        SELECT root_key, number, connection AS store, provider_time AS at, if(amount_currency != '', amount_currency, currency) AS currency
        FROM transitions
        WHERE NOT test AND environment = {environment:String} AND ({store:String} = '' OR connection = {store:String})
            AND disposition NOT IN ('DUPLICATE', 'IGNORED')
            AND (event_kind IN ('PAYMENT', 'ORDER') AND event_status = 'FAILED' OR match(lower(event_type), 'payment[._]failed$'))
    ) AS f
    ASOF LEFT JOIN
    (
        SELECT root_key, provider_time AS at, ifNull(amount, toDecimal128(0, 9)) AS amount, amount_currency AS currency
        FROM transitions
        WHERE NOT test AND environment = {environment:String} AND ({store:String} = '' OR connection = {store:String})
            AND disposition NOT IN ('DUPLICATE', 'IGNORED')
            AND event_kind IN ('PAYMENT', 'ORDER') AND event_status IN ('PAID', 'PARTIALLY_PAID')
    ) AS p ON f.root_key = p.root_key AND f.at <= p.at
    GROUP BY f.root_key, p.at
) AS e
WHERE e.failed_at >= parseDateTime64BestEffort({since:String}, 3, 'UTC') AND e.failed_at < parseDateTime64BestEffort({until:String}, 3, 'UTC')
GROUP BY month, store, currency;

CREATE OR REPLACE VIEW v_failures
COMMENT 'Failed payments by the provider''s reason, or its status word where it gives none; by month (UTC), store and currency. Each failed event counts once, however often it was sent' AS
SELECT
    toStartOfMonth(e.at) AS month,
    e.store AS store,
    e.reason AS reason,
    e.currency AS currency,
    count() AS failures,
    sum(e.amount) AS amount
FROM
(
    SELECT
        v.connection AS store,
        min(v.provider_time) AS at,
        any(coalesce(nullIf(v.fields['payment.reason'], ''), nullIf(v.fields['subscription.last_failed_payment.reason'], ''),
            nullIf(v.provider_status, ''), 'not said')) AS reason,
        any(v.currency) AS currency,
        any(ifNull(v.amount, toDecimal128(0, 9))) AS amount
    FROM events AS v
    WHERE NOT v.test AND v.environment = {environment:String} AND ({store:String} = '' OR v.connection = {store:String})
        AND (v.kind IN ('PAYMENT', 'ORDER') AND v.status = 'FAILED' OR match(lower(v.event_type), 'payment[._]failed$'))
        AND v.provider_time >= parseDateTime64BestEffort({since:String}, 3, 'UTC') AND v.provider_time < parseDateTime64BestEffort({until:String}, 3, 'UTC')
    GROUP BY store, v.provider, v.event_id
) AS e
GROUP BY month, store, reason, currency;

CREATE OR REPLACE VIEW v_capture_time
COMMENT 'From approval (or authorization) to the first capture, by month of the approval (UTC) and store. never_captured orders ended without a capture, open ones may still be captured; the seconds are those of captured orders. Orders that were paid without an approval are not part of it' AS
SELECT
    toStartOfMonth(o.approved_at) AS month,
    o.store AS store,
    count() AS approved,
    countIf(o.captured) AS captured,
    countIf(NOT o.captured AND o.ended) AS never_captured,
    countIf(NOT o.captured AND NOT o.ended) AS open,
    if(captured = 0, NULL, quantileExactIf(0.5)(o.seconds, o.captured)) AS seconds_p50,
    if(captured = 0, NULL, quantileExactIf(0.9)(o.seconds, o.captured)) AS seconds_p90,
    if(captured = 0, NULL, quantileExactIf(0.99)(o.seconds, o.captured)) AS seconds_p99
FROM
(
    SELECT
        t.root_key,
        t.connection AS store,
        max(t.to_status IN ('APPROVED', 'AUTHORIZED')) AS approved,
        minIf(t.provider_time, t.to_status IN ('APPROVED', 'AUTHORIZED')) AS approved_at,
        max(t.to_status IN ('PAID', 'PARTIALLY_PAID')) AS captured,
        minIf(t.provider_time, t.to_status IN ('PAID', 'PARTIALLY_PAID')) AS captured_at,
        argMax(t.to_status, t.number) IN ('CANCELLED', 'EXPIRED', 'VOIDED', 'FAILED') AS ended,
        greatest(0, dateDiff('second', approved_at, captured_at)) AS seconds
    FROM transitions AS t
    WHERE NOT t.test AND t.root_kind = 'ORDER' AND t.disposition = 'CHANGED'
        AND t.environment = {environment:String} AND ({store:String} = '' OR t.connection = {store:String})
    GROUP BY t.root_key, store
    HAVING approved
        AND approved_at >= parseDateTime64BestEffort({since:String}, 3, 'UTC') AND approved_at < parseDateTime64BestEffort({until:String}, 3, 'UTC')
) AS o
GROUP BY month, store;

CREATE OR REPLACE VIEW v_funnel
COMMENT 'How far the orders came that began in the span, by store: all, approved (or captured without an approval), captured, refunded in whole or in part. share is that of the store''s orders' AS
SELECT
    f.store AS store,
    s.1 AS step,
    s.2 AS name,
    s.3 AS orders,
    round(s.3 / f.orders, 4) AS share
FROM
(
    SELECT
        o.store AS store,
        count() AS orders,
        countIf(o.approved OR o.captured) AS approved_orders,
        countIf(o.captured) AS captured_orders,
        countIf(o.captured AND o.refunded) AS refunded_orders
    FROM
    (
        SELECT
            t.root_key,
            t.connection AS store,
            min(t.provider_time) AS began_at,
            max(t.to_status IN ('APPROVED', 'AUTHORIZED')) AS approved,
            max(t.to_status IN ('PAID', 'PARTIALLY_PAID', 'REFUNDED', 'PARTIALLY_REFUNDED')) AS captured,
            max(t.to_status IN ('REFUNDED', 'PARTIALLY_REFUNDED')) AS refunded
        FROM transitions AS t
        WHERE NOT t.test AND t.root_kind = 'ORDER' AND t.disposition = 'CHANGED'
            AND t.environment = {environment:String} AND ({store:String} = '' OR t.connection = {store:String})
        GROUP BY t.root_key, store
        HAVING began_at >= parseDateTime64BestEffort({since:String}, 3, 'UTC') AND began_at < parseDateTime64BestEffort({until:String}, 3, 'UTC')
    ) AS o
    GROUP BY store
) AS f
ARRAY JOIN [(1, 'created', f.orders), (2, 'approved', f.approved_orders), (3, 'captured', f.captured_orders), (4, 'refunded', f.refunded_orders)] AS s;

CREATE OR REPLACE VIEW v_churn
COMMENT 'Subscriptions by month (UTC) and store, from the first month with one to the last with a change: active at the month''s start, started in it, churned (active at its start and cancelled or expired in it), brief (started and ended in it), active at its end. churn is churned of active at the start. A suspended subscription is still active' AS
SELECT month, store, active_at_start, started, churned, brief, active_at_end, if(active_at_start = 0, NULL, round(churned / active_at_start, 4)) AS churn
FROM
(
    SELECT
        m.month AS month,
        m.store AS store,
        sum(m.begun) AS started,
        sum(m.lost) AS churned,
        sum(m.short) AS brief,
        sum(started - churned - brief) OVER (PARTITION BY store ORDER BY month ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS active_at_end,
        active_at_end - started + churned + brief AS active_at_start
    FROM
    (
        SELECT
            g.store AS store,
            arrayJoin(arrayConcat(
                g.movements,
                arrayMap(i -> (addMonths(g.first, i), toInt64(0), toInt64(0), toInt64(0)), range(toUInt64(dateDiff('month', g.first, g.last) + 1))))) AS movement,
            movement.1 AS month,
            movement.2 AS begun,
            movement.3 AS lost,
            movement.4 AS short
        FROM
        (
            SELECT
                s.store AS store,
                min(s.began) AS first,
                greatest(max(s.began), max(s.ended)) AS last,
                groupArrayArray(if(s.ended = toDate(0), [(s.began, toInt64(1), toInt64(0), toInt64(0))],
                    [(s.began, toInt64(1), toInt64(0), toInt64(0)), (s.ended, toInt64(0), toInt64(s.ended > s.began), toInt64(s.ended = s.began))])) AS movements
            FROM
            (
                SELECT
                    t.root_key,
                    t.connection AS store,
                    toStartOfMonth(minIf(t.provider_time, t.to_status = 'ACTIVE')) AS began,
                    if(argMax(t.to_status, t.number) IN ('CANCELLED', 'EXPIRED'),
                        greatest(began, toStartOfMonth(maxIf(t.provider_time, t.to_status IN ('CANCELLED', 'EXPIRED')))), toDate(0)) AS ended
                FROM transitions AS t
                WHERE NOT t.test AND t.root_kind = 'SUBSCRIPTION' AND t.disposition = 'CHANGED'
                    AND t.environment = {environment:String} AND ({store:String} = '' OR t.connection = {store:String})
                GROUP BY t.root_key, store
                HAVING max(t.to_status = 'ACTIVE')
            ) AS s
            GROUP BY store
        ) AS g
    ) AS m
    GROUP BY month, store
)
WHERE month >= toStartOfMonth(parseDateTime64BestEffort({since:String}, 3, 'UTC')) AND month < parseDateTime64BestEffort({until:String}, 3, 'UTC');

CREATE OR REPLACE VIEW v_revenue_by_tag
COMMENT 'Money of the span by tag of the customer: the tags are those that the newest desired state of the contact asks the CRM for. One order counts under each tag of its customer, so the rows do not add up to the revenue' AS
SELECT
    c.tag AS tag,
    m.currency AS currency,
    uniqExact(m.contact_key) AS contacts,
    uniqExact(m.root_key) AS orders,
    sum(m.gross) AS gross,
    sum(m.refunds) AS refunds,
    gross - refunds AS net
FROM
(
    SELECT s.root_key AS root_key, s.currency AS currency, sum(s.captured) AS gross, sum(s.refunded) AS refunds, any(s.contact_key) AS contact_key
    FROM v_money_steps AS s
    WHERE s.environment = {environment:String} AND ({store:String} = '' OR s.connection = {store:String})
        AND s.at >= parseDateTime64BestEffort({since:String}, 3, 'UTC') AND s.at < parseDateTime64BestEffort({until:String}, 3, 'UTC')
    GROUP BY root_key, currency
) AS m
INNER JOIN
(
    SELECT DISTINCT contact_key, arrayJoin(tags) AS tag
    FROM
    (
        SELECT destination, contact_key, argMax(contact_tags, version) AS tags
        FROM commands
        WHERE kind = 'CONTACT' AND NOT test AND startsWith(contact_key, concat({environment:String}, '/'))
        GROUP BY destination, contact_key
    )
) AS c ON c.contact_key = m.contact_key
GROUP BY tag, currency;

CREATE OR REPLACE VIEW v_cohorts
COMMENT 'Buyers by month (UTC) of their first payment in a currency (the cohort, which the span is about), and what they paid months later (0 is the first month). buyers paid in that month, size is the cohort''s number of buyers, share is buyers of size; net is captured less refunded, net_per_buyer is net by size. A buyer is a contact; payments without a contact are not part of it' AS
SELECT
    cohort,
    currency,
    months,
    first_value(paying) OVER (PARTITION BY cohort, currency ORDER BY months ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS size,
    paying AS buyers,
    round(paying / size, 4) AS share,
    net,
    round(net / toDecimal128(size, 0), 2) AS net_per_buyer
FROM
(
    SELECT
        w.cohort AS cohort,
        w.currency AS currency,
        toUInt32(dateDiff('month', w.cohort, w.month)) AS months,
        countIf(w.gross > 0) AS paying,
        sum(w.net) AS net
    FROM
    (
        SELECT
            m.currency AS currency, m.month AS month, m.gross AS gross, m.net AS net,
            minIf(m.month, m.gross > 0) OVER (PARTITION BY m.contact_key, m.currency) AS cohort
        FROM
        (
            SELECT
                s.contact_key AS contact_key, s.currency AS currency, toStartOfMonth(s.at) AS month,
                sum(s.captured) AS gross, sum(s.captured) - sum(s.refunded) AS net
            FROM v_money_steps AS s
            WHERE s.environment = {environment:String} AND ({store:String} = '' OR s.connection = {store:String})
                AND s.contact_key != ''
            GROUP BY contact_key, currency, month
        ) AS m
    ) AS w
    WHERE w.month >= w.cohort AND w.cohort >= toStartOfMonth(parseDateTime64BestEffort({since:String}, 3, 'UTC'))
        AND w.cohort < parseDateTime64BestEffort({until:String}, 3, 'UTC') AND w.cohort > toDate('1970-01-01')
    GROUP BY cohort, currency, months
);

CREATE OR REPLACE VIEW v_disputes
COMMENT 'Disputes by month (UTC) of their first notice, store, reason and currency: open, won (the money stayed), lost (it was returned). amount is what was in dispute, lost_amount what was lost' AS
SELECT
    toStartOfMonth(d.at) AS month,
    d.store AS store,
    d.reason AS reason,
    d.currency AS currency,
    count() AS disputes,
    countIf(d.status NOT IN ('PAID', 'CHARGED_BACK')) AS open,
    countIf(d.status = 'PAID') AS won,
    countIf(d.status = 'CHARGED_BACK') AS lost,
    sum(d.amount) AS amount,
    sumIf(d.amount, d.status = 'CHARGED_BACK') AS lost_amount
FROM
(
    SELECT
        v.connection AS store,
        v.entity_id,
        min(v.provider_time) AS at,
        argMax(v.status, (v.provider_time, v.sequence, v.event_id)) AS status,
        argMax(v.currency, (v.currency != '', v.provider_time, v.sequence, v.event_id)) AS currency,
        argMax(ifNull(v.amount, toDecimal128(0, 9)), (v.amount IS NOT NULL, v.provider_time, v.sequence, v.event_id)) AS amount,
        if(argMax(v.fields['dispute.reason'], (v.fields['dispute.reason'] != '', v.provider_time, v.event_id)) AS said = '', 'not said', said) AS reason
    FROM events AS v
    WHERE NOT v.test AND v.kind = 'DISPUTE' AND v.problem = ''
        AND v.environment = {environment:String} AND ({store:String} = '' OR v.connection = {store:String})
    GROUP BY store, v.provider, v.entity_id
    HAVING at >= parseDateTime64BestEffort({since:String}, 3, 'UTC') AND at < parseDateTime64BestEffort({until:String}, 3, 'UTC')
) AS d
GROUP BY month, store, reason, currency;

CREATE OR REPLACE VIEW v_delivery
COMMENT 'Tries at a CRM by hour (UTC) of their end and destination: how each ended, requests sent and how many of them were answered 429 (limited, limited_share), milliseconds of a try with requests. uncertain commands are for a person to decide. store is that of the order which caused the command' AS
SELECT
    toStartOfHour(d.at) AS hour,
    d.destination AS destination,
    count() AS tries,
    countIf(d.outcome = 'DELIVERED') AS delivered,
    countIf(d.outcome = 'RETRYABLE') AS retried,
    countIf(d.outcome = 'REJECTED') AS rejected,
    countIf(d.outcome = 'UNCERTAIN') AS uncertain,
    countIf(d.outcome = 'SUPERSEDED') AS superseded,
    sum(d.requests) AS requests,
    sum(d.limited) AS limited,
    if(requests = 0, NULL, round(limited / requests, 4)) AS limited_share,
    if(requests = 0, NULL, quantileExactIf(0.5)(d.millis, d.requests > 0)) AS ms_p50,
    if(requests = 0, NULL, quantileExactIf(0.95)(d.millis, d.requests > 0)) AS ms_p95
FROM
(
    SELECT
        destination, command_id, attempt, outcome,
        any(deliveries.at) AS at,
        any(length(response_status)) AS requests,
        any(countEqual(response_status, 429)) AS limited,
        any(arraySum(request_millis)) AS millis
    FROM deliveries
    WHERE NOT test AND outcome != 'INTENT' AND startsWith(root_key, concat({environment:String}, '/'))
        AND ({store:String} = '' OR startsWith(root_key, concat({environment:String}, '/', {store:String}, '/')))
        AND deliveries.at >= parseDateTime64BestEffort({since:String}, 3, 'UTC') AND deliveries.at < parseDateTime64BestEffort({until:String}, 3, 'UTC')
    GROUP BY destination, command_id, attempt, outcome
) AS d
GROUP BY hour, destination;

CREATE OR REPLACE VIEW v_crm_delay
COMMENT 'Seconds from the receipt of an event until the CRM had taken what it caused, by day (UTC) of the receipt, store and destination. Counted are events of which a command was delivered; a desired state that a newer one replaced counts with the newer one''s event. Events that a backfill or a replay brought are left out' AS
SELECT
    toDate(e.received_at) AS day,
    e.store AS store,
    d.destination AS destination,
    count() AS events,
    round(quantileExact(0.5)(greatest(0, dateDiff('millisecond', e.received_at, d.delivered_at))) / 1000, 3) AS seconds_p50,
    round(quantileExact(0.9)(greatest(0, dateDiff('millisecond', e.received_at, d.delivered_at))) / 1000, 3) AS seconds_p90,
    round(quantileExact(0.99)(greatest(0, dateDiff('millisecond', e.received_at, d.delivered_at))) / 1000, 3) AS seconds_p99
FROM
(
    SELECT root_key, event_id, any(connection) AS store, min(transitions.received_at) AS received_at
    FROM transitions
    WHERE NOT test AND environment = {environment:String} AND ({store:String} = '' OR connection = {store:String})
        AND origin IN ('WEBHOOK', 'POLL')
        AND transitions.received_at >= parseDateTime64BestEffort({since:String}, 3, 'UTC')
        AND transitions.received_at < parseDateTime64BestEffort({until:String}, 3, 'UTC')
    GROUP BY root_key, event_id
) AS e
INNER JOIN
(
    SELECT root_key, event_id, destination, min(at) AS delivered_at
    FROM deliveries
    WHERE outcome = 'DELIVERED' AND NOT test AND at >= parseDateTime64BestEffort({since:String}, 3, 'UTC')
        AND startsWith(root_key, concat({environment:String}, '/'))
    GROUP BY root_key, event_id, destination
) AS d ON d.root_key = e.root_key AND d.event_id = e.event_id
GROUP BY day, store, destination;

CREATE OR REPLACE VIEW v_event_quality
COMMENT 'How orderly the providers send, by store and event type, of what was received in the span: records on Kafka, distinct events, repeats (records beyond the first of an event), late (older than what was applied to their order), illegal (a step the status may not take; applied all the same), seconds from the provider''s time to the first receipt by webhook' AS
SELECT
    q.store AS store,
    q.event_type AS event_type,
    sum(q.records) AS records,
    sum(q.events) AS events,
    records - events AS repeats,
    sum(q.late) AS late,
    sum(q.illegal) AS illegal,
    max(q.p50) AS seconds_p50,
    max(q.p99) AS seconds_p99
FROM
(
    SELECT
        e.store AS store, e.event_type AS event_type,
        toInt64(sum(e.records)) AS records, toInt64(count()) AS events, toInt64(0) AS late, toInt64(0) AS illegal,
        if(countIf(e.webhook) = 0, NULL, round(quantileExactIf(0.5)(e.millis, e.webhook) / 1000, 1)) AS p50,
        if(countIf(e.webhook) = 0, NULL, round(quantileExactIf(0.99)(e.millis, e.webhook) / 1000, 1)) AS p99
    FROM
    (
        SELECT
            connection AS store, event_type, provider, event_id,
            uniqExact((_topic, _topic_id, _partition, _offset)) AS records,
            max(origin = 'WEBHOOK') AS webhook,
            greatest(0, dateDiff('millisecond', min(provider_time), minIf(received_at, origin = 'WEBHOOK'))) AS millis
        FROM events
        WHERE NOT test AND environment = {environment:String} AND ({store:String} = '' OR connection = {store:String})
            AND received_at >= parseDateTime64BestEffort({since:String}, 3, 'UTC') AND received_at < parseDateTime64BestEffort({until:String}, 3, 'UTC')
        GROUP BY store, event_type, provider, event_id
    ) AS e
    GROUP BY store, event_type
    UNION ALL
    SELECT
        connection, event_type, toInt64(0), toInt64(0), toInt64(uniqExactIf((root_key, number), disposition = 'LATE')),
        toInt64(uniqExactIf((root_key, number), NOT legal)), NULL, NULL
    FROM transitions
    WHERE NOT test AND environment = {environment:String} AND ({store:String} = '' OR connection = {store:String})
        AND (disposition = 'LATE' OR NOT legal)
        AND received_at >= parseDateTime64BestEffort({since:String}, 3, 'UTC') AND received_at < parseDateTime64BestEffort({until:String}, 3, 'UTC')
    GROUP BY connection, event_type
) AS q
GROUP BY store, event_type;

CREATE OR REPLACE VIEW v_triggers
COMMENT 'Triggers that fired in the span (by stream time), by destination: effects asked for, contacts, the first and the last time. A trigger that is missing did not fire' AS
SELECT
    c.trigger AS trigger,
    c.destination AS destination,
    uniqExact(c.command_id) AS effects,
    uniqExact(c.contact_key) AS contacts,
    min(c.at) AS first_at,
    max(c.at) AS last_at
FROM commands AS c
WHERE NOT c.test AND c.kind = 'EFFECT' AND c.trigger != '' AND startsWith(c.root_key, concat({environment:String}, '/'))
    AND ({store:String} = '' OR startsWith(c.root_key, concat({environment:String}, '/', {store:String}, '/')))
    AND c.at >= parseDateTime64BestEffort({since:String}, 3, 'UTC') AND c.at < parseDateTime64BestEffort({until:String}, 3, 'UTC')
GROUP BY trigger, destination;

CREATE OR REPLACE VIEW v_given_up
COMMENT 'Dead letters of the span (when they were given up) by stage and cause, with the newest remedy. Letters whose order and contact are not known belong to no environment and store and are always part of it' AS
SELECT
    l.stage AS stage,
    l.cause AS cause,
    uniqExact(l.id) AS letters,
    min(l.at) AS first_at,
    max(l.at) AS last_at,
    argMax(l.remedy, (l.at, l.id)) AS remedy
FROM dead_letters AS l
WHERE (l.root_key = '' AND l.contact_key = ''
        OR startsWith(if(l.root_key != '', l.root_key, l.contact_key), concat({environment:String}, '/'))
            AND ({store:String} = '' OR l.root_key = '' OR startsWith(l.root_key, concat({environment:String}, '/', {store:String}, '/'))))
    AND l.at >= parseDateTime64BestEffort({since:String}, 3, 'UTC') AND l.at < parseDateTime64BestEffort({until:String}, 3, 'UTC')
GROUP BY stage, cause;
