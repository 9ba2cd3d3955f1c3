-- Further reports, and quicker ones. Where a report needs each record once and no more, it reads the table with FINAL: the
-- sorting key ends with the record's place on Kafka and the partition is the month of the record, so that FINAL takes
-- repetitions out, nothing else, partition by partition. Ids are compared by their hashes, which are shorter.

CREATE OR REPLACE VIEW v_mrr
COMMENT 'Monthly recurring revenue by month (UTC), store and currency: at the month''s start, new subscriptions, expansion and contraction of those that pay more or less than before, lost (cancelled or expired), at its end. A subscription counts from its first payment on with the amount of its newest one, by the month: the smallest time between two of its payments (5 days at least) tells whether it is weekly, fortnightly, monthly, quarterly, half-yearly or yearly; with one payment so far it counts as monthly. Refunds change nothing; a suspended subscription still counts' AS
SELECT month, store, currency, mrr_at_end - new - expansion + contraction + lost AS mrr_at_start, new, expansion, contraction, lost, mrr_at_end, began, ended
FROM
(
    SELECT
        m.month AS month,
        m.store AS store,
        m.currency AS currency,
        sumIf(m.now - m.before, m.before = 0 AND m.now > 0) AS new,
        sumIf(m.now - m.before, m.before > 0 AND m.now > m.before) AS expansion,
        sumIf(m.before - m.now, m.now > 0 AND m.now < m.before) AS contraction,
        sumIf(m.before, m.now = 0) AS lost,
        countIf(m.before = 0 AND m.now > 0) AS began,
        countIf(m.before > 0 AND m.now = 0) AS ended,
        sum(new + expansion - contraction - lost) OVER (PARTITION BY store, currency ORDER BY month ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS mrr_at_end
    FROM
    (
        SELECT
            g.store AS store,
            g.currency AS currency,
            arrayJoin(arrayConcat(
                g.movements,
                arrayMap(i -> (addMonths(g.first, i), toDecimal128(0, 9), toDecimal128(0, 9)), range(toUInt64(dateDiff('month', g.first, g.last) + 1))))) AS movement,
            movement.1 AS month,
            movement.2 AS before,
            movement.3 AS now
        FROM
        (
            SELECT
                s.store AS store,
                s.currency AS currency,
                arrayMin(groupArray(s.steps[1].1)) AS first,
                arrayMax(groupArray(s.steps[-1].1)) AS last,
                groupArrayArray(arrayFilter(x -> x.2 != x.3, arrayMap((now, before) -> (now.1, before.2, now.2),
                    s.steps, arrayPushFront(arrayPopBack(s.steps), (toDate('1970-01-01'), toDecimal128(0, 9)))))) AS movements
            FROM
            (
                SELECT
                    p.store AS store,
                    p.payments[-1].4 AS currency,
                    arrayMin(arrayFilter(d -> d >= 5, arrayMap((b, a) -> dateDiff('day', a.1, b.1), arrayPopFront(p.payments), arrayPopBack(p.payments)))) AS days,
                    arrayMap(x -> (toStartOfMonth(x.1), x.3), p.payments) AS paid,
                    arrayMap(m -> (m, arrayFilter(x -> x.1 = m, paid)[-1].2), arrayFilter(m -> p.ended = toDate(0) OR m < p.ended, arrayDistinct(paid.1))) AS monthly,
                    arrayMap(x -> (x.1, multiIf(days = 0, x.2, days <= 10, x.2 * 4348 / 1000, days <= 20, x.2 * 2174 / 1000, days <= 45, x.2,
                        days <= 120, x.2 / 3, days <= 240, x.2 / 6, x.2 / 12)), monthly) AS values,
                    if(p.ended = toDate(0) OR empty(values), values, arrayPushBack(values, (p.ended, toDecimal128(0, 9)))) AS steps
                FROM
                (
                    SELECT
                        t.connection AS store,
                        arraySort(groupUniqArrayIf((t.provider_time, t.entity_id, assumeNotNull(t.amount), toString(t.amount_currency)),
                            t.event_kind = 'PAYMENT' AND t.event_status = 'PAID' AND t.amount > 0 AND t.disposition NOT IN ('DUPLICATE', 'IGNORED'))) AS payments,
                        if(argMaxIf(t.to_status, t.number, t.disposition = 'CHANGED') IN ('CANCELLED', 'EXPIRED'),
                            toStartOfMonth(maxIf(t.provider_time, t.disposition = 'CHANGED' AND t.to_status IN ('CANCELLED', 'EXPIRED'))), toDate(0)) AS ended
                    FROM transitions AS t
                    WHERE NOT t.test AND t.root_kind = 'SUBSCRIPTION'
                        AND t.environment = {environment:String} AND ({store:String} = '' OR t.connection = {store:String})
                    GROUP BY t.root_key, store
                    HAVING notEmpty(payments)
                ) AS p
            ) AS s
            WHERE notEmpty(s.steps)
            GROUP BY store, currency
        ) AS g
    ) AS m
    GROUP BY month, store, currency
)
WHERE month >= toStartOfMonth(parseDateTime64BestEffort({since:String}, 3, 'UTC')) AND month < parseDateTime64BestEffort({until:String}, 3, 'UTC');

CREATE OR REPLACE VIEW v_revenue_by_order_tag
COMMENT 'Money of the span by tag of the order: the tags that the customer''s desired state had with the last change that the order itself caused in the CRM. One order counts under each of its tags, so the rows do not add up to the revenue; orders that changed nothing in the CRM are not part of it' AS
SELECT
    c.tag AS tag,
    m.currency AS currency,
    count() AS orders,
    sum(m.gross) AS gross,
    sum(m.refunds) AS refunds,
    gross - refunds AS net
FROM
(
    SELECT sipHash64(s.root_key) AS root, s.currency AS currency, sum(s.captured) AS gross, sum(s.refunded) AS refunds
    FROM v_money_steps AS s
    WHERE s.environment = {environment:String} AND ({store:String} = '' OR s.connection = {store:String})
        AND s.at >= parseDateTime64BestEffort({since:String}, 3, 'UTC') AND s.at < parseDateTime64BestEffort({until:String}, 3, 'UTC')
    GROUP BY root, currency
) AS m
INNER JOIN
(
    SELECT root, arrayJoin(arrayDistinct(groupArrayArray(tags))) AS tag
    FROM
    (
        SELECT sipHash64(root_key) AS root, destination, argMax(contact_tags, version) AS tags
        FROM commands
        WHERE kind = 'CONTACT' AND NOT test AND root_key != '' AND startsWith(root_key, concat({environment:String}, '/'))
            AND ({store:String} = '' OR startsWith(root_key, concat({environment:String}, '/', {store:String}, '/')))
        GROUP BY root, destination
    )
    GROUP BY root
) AS c ON c.root = m.root
GROUP BY tag, currency;

CREATE OR REPLACE VIEW v_disputes_by_product
COMMENT 'Disputes of the span (by their first notice) by product, store and currency: open, won, lost. The products are the items that any event of the order names; PayPal''s own events name none, so that only orders which a store told of too, or whose description names what was sold, are under more than "not said". A dispute counts under each product of its order' AS
SELECT
    arrayJoin(if(empty(o.products), ['not said'], o.products)) AS product,
    d.store AS store,
    d.currency AS currency,
    count() AS disputes,
    countIf(d.status NOT IN ('PAID', 'CHARGED_BACK')) AS open,
    countIf(d.status = 'PAID') AS won,
    countIf(d.status = 'CHARGED_BACK') AS lost,
    sum(d.amount) AS amount
FROM
(
    SELECT
        v.connection AS store,
        v.entity_id,
        argMax(v.root_id, (v.root_id != v.entity_id, v.provider_time, v.event_id)) AS root_id,
        min(v.provider_time) AS at,
        argMax(v.status, (v.provider_time, v.sequence, v.event_id)) AS status,
        argMax(v.currency, (v.currency != '', v.provider_time, v.sequence, v.event_id)) AS currency,
        argMax(ifNull(v.amount, toDecimal128(0, 9)), (v.amount IS NOT NULL, v.provider_time, v.sequence, v.event_id)) AS amount
    FROM events AS v
    WHERE NOT v.test AND v.kind = 'DISPUTE' AND v.problem = ''
        AND v.environment = {environment:String} AND ({store:String} = '' OR v.connection = {store:String})
    GROUP BY store, v.provider, v.entity_id
    HAVING at >= parseDateTime64BestEffort({since:String}, 3, 'UTC') AND at < parseDateTime64BestEffort({until:String}, 3, 'UTC')
) AS d
LEFT JOIN
(
    SELECT i.connection AS store, i.root_id AS root_id, groupUniqArrayArray(mapValues(mapFilter((k, v) -> match(k, '^order[.]items[.][0-9]+[.]name$') AND v != '', i.fields))) AS products
    FROM events AS i
    WHERE NOT i.test AND i.environment = {environment:String} AND ({store:String} = '' OR i.connection = {store:String})
        AND i.root_id IN (SELECT root_id FROM events WHERE kind = 'DISPUTE' AND environment = {environment:String})
    GROUP BY store, root_id
) AS o ON o.store = d.store AND o.root_id = d.root_id
GROUP BY product, store, currency;

CREATE OR REPLACE VIEW v_rules
COMMENT 'Mappings and workflows of the newest configuration, and how often each did something in the span (stream time): effects asked for, runs begun, contacts. silent: nothing. Sandbox and live have one configuration; fired is about the environment asked for. What a mapping writes into fields and tags is no effect' AS
SELECT
    r.rule AS rule,
    f.effects AS effects,
    f.runs AS runs,
    f.contacts AS contacts,
    f.effects = 0 AND f.runs = 0 AS silent,
    if(f.last_at = toDateTime64(0, 3, 'UTC'), NULL, f.last_at) AS last_at
FROM
(
    SELECT arrayJoin(arrayFilter(n -> match(n, '^(mappings|workflows)/'), arrayMap(n -> replaceRegexpOne(n, '[.]ya?ml$', ''), mapKeys(argMax(files, (at, _offset)))))) AS rule
    FROM config_versions
) AS r
LEFT JOIN
(
    SELECT
        u.rule AS rule,
        uniqExactIf(u.id, u.effect) AS effects,
        uniqExactIf(u.id, NOT u.effect) AS runs,
        uniqExact(u.contact) AS contacts,
        max(u.at) AS last_at
    FROM
    (
        SELECT splitByChar('#', commands.rule)[1] AS rule, sipHash64(command_id) AS id, true AS effect, sipHash64(contact_key) AS contact, at
        FROM commands
        WHERE NOT test AND kind = 'EFFECT' AND startsWith(contact_key, concat({environment:String}, '/'))
            AND ({store:String} = '' OR startsWith(root_key, concat({environment:String}, '/', {store:String}, '/')))
            AND at >= parseDateTime64BestEffort({since:String}, 3, 'UTC') AND at < parseDateTime64BestEffort({until:String}, 3, 'UTC')
        UNION ALL
        SELECT concat('workflows/', workflow), sipHash64(run_id), false, sipHash64(contact_key), at
        FROM run_steps
        WHERE NOT test AND kind = 'STARTED' AND startsWith(contact_key, concat({environment:String}, '/'))
            AND ({store:String} = '' OR startsWith(root_key, concat({environment:String}, '/', {store:String}, '/')))
            AND at >= parseDateTime64BestEffort({since:String}, 3, 'UTC') AND at < parseDateTime64BestEffort({until:String}, 3, 'UTC')
    ) AS u
    GROUP BY rule
) AS f ON f.rule = r.rule;

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
    SELECT destination, outcome, at, length(response_status) AS requests, countEqual(response_status, 429) AS limited, arraySum(request_millis) AS millis
    FROM deliveries FINAL
    WHERE NOT test AND outcome != 'INTENT' AND startsWith(root_key, concat({environment:String}, '/'))
        AND ({store:String} = '' OR startsWith(root_key, concat({environment:String}, '/', {store:String}, '/')))
        AND at >= parseDateTime64BestEffort({since:String}, 3, 'UTC') AND at < parseDateTime64BestEffort({until:String}, 3, 'UTC')
    SETTINGS do_not_merge_across_partitions_select_final = 1
) AS d
GROUP BY hour, destination;

CREATE OR REPLACE VIEW v_crm_delay
COMMENT 'Seconds from the receipt of an event until the CRM had taken what it caused, by day (UTC) of the receipt, store and destination. Counted are events of which a command was delivered; a desired state that a newer one replaced counts with the newer one''s event. Events that a backfill or a replay brought are left out' AS
SELECT
    toDate(e.received_at) AS day,
    e.store AS store,
    delivered.1 AS destination,
    count() AS events,
    round(quantileExact(0.5)(greatest(0, dateDiff('millisecond', e.received_at, delivered.2))) / 1000, 3) AS seconds_p50,
    round(quantileExact(0.9)(greatest(0, dateDiff('millisecond', e.received_at, delivered.2))) / 1000, 3) AS seconds_p90,
    round(quantileExact(0.99)(greatest(0, dateDiff('millisecond', e.received_at, delivered.2))) / 1000, 3) AS seconds_p99
FROM
(
    SELECT
        u.id,
        anyIf(u.store, u.destination = '') AS store,
        minIf(u.at, u.destination = '') AS received_at,
        groupArrayIf((u.destination, u.at), u.destination != '') AS taken,
        arrayMap(d -> (d, arrayMin(arrayMap(x -> x.2, arrayFilter(x -> x.1 = d, taken)))), arrayDistinct(arrayMap(x -> x.1, taken))) AS deliveries
    FROM
    (
        SELECT sipHash64(root_key, event_id) AS id, toString(connection) AS store, '' AS destination, transitions.received_at AS at
        FROM transitions
        WHERE NOT test AND environment = {environment:String} AND ({store:String} = '' OR connection = {store:String})
            AND origin IN ('WEBHOOK', 'POLL')
            AND transitions.received_at >= parseDateTime64BestEffort({since:String}, 3, 'UTC')
            AND transitions.received_at < parseDateTime64BestEffort({until:String}, 3, 'UTC')
        UNION ALL
        SELECT sipHash64(root_key, event_id), '', toString(destination), at
        FROM deliveries
        WHERE outcome = 'DELIVERED' AND NOT test AND at >= parseDateTime64BestEffort({since:String}, 3, 'UTC')
            AND startsWith(root_key, concat({environment:String}, '/'))
    ) AS u
    GROUP BY u.id
    HAVING store != '' AND notEmpty(deliveries)
) AS e
ARRAY JOIN e.deliveries AS delivered
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
            connection AS store, event_type, sipHash64(provider, event_id) AS event,
            count() AS records,
            max(origin = 'WEBHOOK') AS webhook,
            greatest(0, dateDiff('millisecond', min(provider_time), minIf(received_at, origin = 'WEBHOOK'))) AS millis
        FROM events FINAL
        WHERE NOT test AND environment = {environment:String} AND ({store:String} = '' OR connection = {store:String})
            AND received_at >= parseDateTime64BestEffort({since:String}, 3, 'UTC') AND received_at < parseDateTime64BestEffort({until:String}, 3, 'UTC')
        GROUP BY store, event_type, event
        SETTINGS do_not_merge_across_partitions_select_final = 1
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
