-- The slower reports, made quicker. Nothing is kept beside the tables: a sum that is built ahead would have to be taken back
-- wherever rows are inserted again or erased. What took the time was how rows were brought together, so:
--
-- Roots, events, runs and contacts are told apart by their hashes: of 20 million, two of 64 bits are equal in one database of
-- 90,000. Groups hold lists of numbers, which the engine keeps side by side. The newest of a kind is found by a number
-- (1000000000000 is more than any root's or run's transitions and steps), not by comparing tuples. The right side of a join holds
-- only what the left side can meet.

CREATE OR REPLACE VIEW v_money_steps
COMMENT 'Each amount captured or refunded, when its event changed the totals of its order, subscription or lone payment; the sum over a root is its newest total. root and contact are numbers that stand for root_key and contact_key (0: no contact). No test events; sandbox and live stand side by side' AS
SELECT
    g.environment AS environment,
    g.connection AS connection,
    g.root_key AS root_key,
    g.root AS root,
    g.kind AS kind,
    g.contact_key AS contact_key,
    g.contact AS contact,
    g.currency AS currency,
    at,
    captured,
    refunded
FROM
(
    SELECT
        sipHash64(t.root_key, t.currency) AS id,
        any(t.environment) AS environment,
        any(t.connection) AS connection,
        any(t.root_key) AS root_key,
        any(sipHash64(t.root_key)) AS root,
        any(t.root_kind) AS kind,
        any(t.currency) AS currency,
        argMax(t.contact_key, if(t.contact_key = '', 0, 1000000000000) + t.number) AS contact_key,
        argMax(if(t.contact_key = '', 0, sipHash64(t.contact_key)), if(t.contact_key = '', 0, 1000000000000) + t.number) AS contact,
        groupArray(t.number) AS numbers,
        arraySort((x, n) -> n, groupArray(t.provider_time), numbers) AS times,
        arraySort((x, n) -> n, groupArray(assumeNotNull(t.paid)), numbers) AS paid,
        arraySort((x, n) -> n, groupArray(assumeNotNull(t.refunded)), numbers) AS back
    FROM transitions AS t
    WHERE NOT t.test AND t.currency != '' AND t.paid IS NOT NULL AND t.refunded IS NOT NULL AND t.disposition NOT IN ('DUPLICATE', 'IGNORED')
    GROUP BY id
) AS g
ARRAY JOIN
    g.times AS at,
    arrayMap((now, before) -> now - before, g.paid, arrayPushFront(arrayPopBack(g.paid), toDecimal128(0, 9))) AS captured,
    arrayMap((now, before) -> now - before, g.back, arrayPushFront(arrayPopBack(g.back), toDecimal128(0, 9))) AS refunded
WHERE captured != 0 OR refunded != 0;

CREATE OR REPLACE VIEW v_revenue_by_tag
COMMENT 'Money of the span by tag of the customer: the tags are those that the newest desired state of the contact asks the CRM for. One order counts under each tag of its customer, so the rows do not add up to the revenue' AS
SELECT
    arrayJoin(c.tags) AS tag,
    m.currency AS currency,
    count() AS contacts,
    sum(m.orders) AS orders,
    sum(m.gross) AS gross,
    sum(m.refunds) AS refunds,
    gross - refunds AS net
FROM
(
    SELECT s.contact AS contact, s.currency AS currency, uniqExact(s.root) AS orders, sum(s.captured) AS gross, sum(s.refunded) AS refunds
    FROM v_money_steps AS s
    WHERE s.environment = {environment:String} AND ({store:String} = '' OR s.connection = {store:String}) AND s.contact != 0
        AND s.at >= parseDateTime64BestEffort({since:String}, 3, 'UTC') AND s.at < parseDateTime64BestEffort({until:String}, 3, 'UTC')
    GROUP BY contact, currency
) AS m
INNER JOIN
(
    SELECT contact, arrayFilter(t -> t != '', arrayDistinct(splitByChar('\0', arrayStringConcat(groupArray(newest), '\0')))) AS tags
    FROM
    (
        SELECT any(sipHash64(commands.contact_key)) AS contact, argMax(arrayStringConcat(contact_tags, '\0'), version) AS newest
        FROM commands
        WHERE kind = 'CONTACT' AND NOT test AND startsWith(contact_key, concat({environment:String}, '/'))
        GROUP BY sipHash64(commands.contact_key, destination)
    )
    GROUP BY contact
) AS c ON c.contact = m.contact
GROUP BY tag, currency;

CREATE OR REPLACE VIEW v_revenue_by_order_tag
COMMENT 'Money of the span by tag of the order: the tags that the customer''s desired state had with the last change that the order itself caused in the CRM. One order counts under each of its tags, so the rows do not add up to the revenue; orders that changed nothing in the CRM are not part of it' AS
SELECT
    arrayJoin(c.tags) AS tag,
    m.currency AS currency,
    count() AS orders,
    sum(m.gross) AS gross,
    sum(m.refunds) AS refunds,
    gross - refunds AS net
FROM
(
    SELECT s.root AS root, s.currency AS currency, sum(s.captured) AS gross, sum(s.refunded) AS refunds
    FROM v_money_steps AS s
    WHERE s.environment = {environment:String} AND ({store:String} = '' OR s.connection = {store:String})
        AND s.at >= parseDateTime64BestEffort({since:String}, 3, 'UTC') AND s.at < parseDateTime64BestEffort({until:String}, 3, 'UTC')
    GROUP BY root, currency
) AS m
INNER JOIN
(
    SELECT root, arrayFilter(t -> t != '', arrayDistinct(splitByChar('\0', arrayStringConcat(groupArray(newest), '\0')))) AS tags
    FROM
    (
        SELECT any(sipHash64(commands.root_key)) AS root, argMax(arrayStringConcat(contact_tags, '\0'), version) AS newest
        FROM commands
        WHERE kind = 'CONTACT' AND NOT test AND root_key != '' AND startsWith(root_key, concat({environment:String}, '/'))
            AND ({store:String} = '' OR startsWith(root_key, concat({environment:String}, '/', {store:String}, '/')))
        GROUP BY sipHash64(commands.root_key, destination)
    )
    GROUP BY root
) AS c ON c.root = m.root
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
        b.cohort AS cohort,
        b.currency AS currency,
        toUInt32(dateDiff('month', b.cohort, month)) AS months,
        countIf(gross > 0) AS paying,
        sum(net) AS net
    FROM
    (
        SELECT
            m.currency AS currency,
            minIf(m.month, m.gross > 0) AS cohort,
            groupArray(m.month) AS list,
            groupArray(m.gross) AS grosses,
            groupArray(m.net) AS nets
        FROM
        (
            SELECT
                s.contact AS contact, s.currency AS currency, toStartOfMonth(s.at) AS month,
                sum(s.captured) AS gross, sum(s.captured) - sum(s.refunded) AS net
            FROM v_money_steps AS s
            WHERE s.environment = {environment:String} AND ({store:String} = '' OR s.connection = {store:String})
                AND s.contact != 0
            GROUP BY contact, currency, month
        ) AS m
        GROUP BY m.contact, currency
        HAVING cohort >= toStartOfMonth(parseDateTime64BestEffort({since:String}, 3, 'UTC'))
            AND cohort < parseDateTime64BestEffort({until:String}, 3, 'UTC') AND cohort > toDate('1970-01-01')
    ) AS b
    ARRAY JOIN b.list AS month, b.grosses AS gross, b.nets AS net
    WHERE month >= b.cohort
    GROUP BY cohort, currency, months
);

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
        f.root,
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
        SELECT sipHash64(root_key) AS root, number, connection AS store, provider_time AS at, if(amount_currency != '', amount_currency, currency) AS currency
        FROM transitions
        WHERE NOT test AND environment = {environment:String} AND ({store:String} = '' OR connection = {store:String})
            AND disposition NOT IN ('DUPLICATE', 'IGNORED')
            AND (event_kind IN ('PAYMENT', 'ORDER') AND event_status = 'FAILED' OR match(lower(event_type), 'payment[._]failed$'))
    ) AS f
    ASOF LEFT JOIN
    (
        SELECT sipHash64(root_key) AS root, provider_time AS at, ifNull(amount, toDecimal128(0, 9)) AS amount, amount_currency AS currency
        FROM transitions
        WHERE NOT test AND environment = {environment:String} AND ({store:String} = '' OR connection = {store:String})
            AND disposition NOT IN ('DUPLICATE', 'IGNORED')
            AND event_kind IN ('PAYMENT', 'ORDER') AND event_status IN ('PAID', 'PARTIALLY_PAID')
            AND sipHash64(root_key) IN
            (
                SELECT sipHash64(root_key)
                FROM transitions
                WHERE NOT test AND environment = {environment:String}
                    AND (event_kind IN ('PAYMENT', 'ORDER') AND event_status = 'FAILED' OR match(lower(event_type), 'payment[._]failed$'))
            )
    ) AS p ON f.root = p.root AND f.at <= p.at
    GROUP BY f.root, p.at
) AS e
WHERE e.failed_at >= parseDateTime64BestEffort({since:String}, 3, 'UTC') AND e.failed_at < parseDateTime64BestEffort({until:String}, 3, 'UTC')
GROUP BY month, store, currency;

CREATE OR REPLACE VIEW v_crm_delay
COMMENT 'Seconds from the receipt of an event until the CRM had taken what it caused, by day (UTC) of the receipt, store and destination. Counted are events of which a command was delivered; a desired state that a newer one replaced counts with the newer one''s event. Events that a backfill or a replay brought are left out' AS
SELECT
    toDate(e.received_at) AS day,
    e.store AS store,
    e.destinations[taken % 65536] AS destination,
    count() AS events,
    round(quantileExact(0.5)(greatest(0, intDiv(taken, 65536) - toUnixTimestamp64Milli(e.received_at))) / 1000, 3) AS seconds_p50,
    round(quantileExact(0.9)(greatest(0, intDiv(taken, 65536) - toUnixTimestamp64Milli(e.received_at))) / 1000, 3) AS seconds_p90,
    round(quantileExact(0.99)(greatest(0, intDiv(taken, 65536) - toUnixTimestamp64Milli(e.received_at))) / 1000, 3) AS seconds_p99
FROM
(
    SELECT
        (SELECT arraySort(groupUniqArray(toString(destination))) FROM deliveries) AS destinations,
        any(u.store) AS store,
        minIf(u.at, u.taken = 0) AS received_at,
        groupArrayIf(u.taken, u.taken != 0) AS all,
        if(length(all) < 2, all, arrayMap(d -> arrayMin(arrayFilter(x -> x % 65536 = d, all)), arrayDistinct(arrayMap(x -> x % 65536, all)))) AS takes
    FROM
    (
        SELECT sipHash64(root_key, event_id) AS id, toNullable(connection) AS store, transitions.received_at AS at, toInt64(0) AS taken
        FROM transitions
        WHERE NOT test AND environment = {environment:String} AND ({store:String} = '' OR connection = {store:String})
            AND origin IN ('WEBHOOK', 'POLL')
            AND transitions.received_at >= parseDateTime64BestEffort({since:String}, 3, 'UTC')
            AND transitions.received_at < parseDateTime64BestEffort({until:String}, 3, 'UTC')
        UNION ALL
        SELECT sipHash64(root_key, event_id), NULL, at,
            toUnixTimestamp64Milli(at) * 65536 + toInt64(indexOf((SELECT arraySort(groupUniqArray(toString(destination))) FROM deliveries), toString(destination)))
        FROM deliveries
        WHERE outcome = 'DELIVERED' AND NOT test AND at >= parseDateTime64BestEffort({since:String}, 3, 'UTC')
            AND startsWith(root_key, concat({environment:String}, '/'))
    ) AS u
    GROUP BY u.id
    HAVING isNotNull(store) AND notEmpty(all)
) AS e
ARRAY JOIN e.takes AS taken
GROUP BY day, store, destination;

CREATE OR REPLACE VIEW v_wait_outcomes
COMMENT 'How waits for an event ended, by the day on which they were opened (UTC, stream time), store, workflow and step; waits of contacts without an order have no store. corrected waits counted as not met, and what came late had happened in time. not_met_share is of those that are decided; hours are those until they were met. overdue waits are open past their deadline. passed are waits for time alone, which are no part of the share. shadow: the workflow is only watched' AS
SELECT
    toDate(w.opened_at) AS day,
    w.store AS store,
    w.workflow AS workflow,
    w.step AS step,
    w.shadow AS shadow,
    count() AS waits,
    countIf(w.state = 'MET' AND NOT w.passed) AS met,
    countIf(w.state = 'NOT_MET') AS not_met,
    countIf(w.state = 'CORRECTED') AS corrected,
    countIf(w.passed) AS passed,
    countIf(w.state = 'OPEN') AS open,
    countIf(w.state = 'OPEN' AND w.deadline > toDateTime64(0, 3, 'UTC') AND w.deadline < now64(3, 'UTC')) AS overdue,
    countIf(w.state = 'STOPPED') AS stopped,
    if(met + not_met + corrected = 0, NULL, round((not_met + corrected) / (met + not_met + corrected), 4)) AS not_met_share,
    if(met = 0, NULL, round(quantileExactIf(0.5)(w.hours, w.state = 'MET' AND NOT w.passed), 2)) AS met_hours_p50,
    if(met = 0, NULL, round(quantileExactIf(0.9)(w.hours, w.state = 'MET' AND NOT w.passed), 2)) AS met_hours_p90
FROM
(
    SELECT
        g.opened_at, g.workflow, g.step, g.shadow, g.deadline, g.store,
        multiIf(g.corrected, 'CORRECTED', g.decided = 1, 'MET', g.decided = 2, 'NOT_MET', g.run IN
        (
            SELECT sipHash64(workflow, contact_key, run_id)
            FROM run_steps
            WHERE kind IN ('ENDED', 'STOPPED') AND startsWith(contact_key, concat({environment:String}, '/'))
        ), 'STOPPED', 'OPEN') AS state,
        state = 'MET' AND g.by_time AS passed,
        dateDiff('second', g.opened_at, g.decided_at) / 3600 AS hours
    FROM
    (
        SELECT
            sipHash64(s.workflow, s.contact_key, s.run_id, s.wait_id) AS id,
            any(sipHash64(s.workflow, s.contact_key, s.run_id)) AS run,
            any(s.workflow) AS workflow,
            argMax(s.step, if(s.kind IN ('WAIT_OPENED', 'MIGRATED'), 1000000000000, 0) + s.number) AS step,
            argMax(s.root_key, if(s.root_key != '', 1000000000000, 0) + s.number) AS root,
            splitByChar('/', root)[2] AS store,
            max(s.shadow) AS shadow,
            max(s.kind = 'WAIT_CORRECTED') AS corrected,
            min(s.at) AS opened_at,
            argMaxIf(s.deadline, s.number, s.kind IN ('WAIT_OPENED', 'MIGRATED')) AS deadline,
            argMax(multiIf(s.kind = 'WAIT_MET', 1, s.kind = 'WAIT_NOT_MET', 2, 0), if(s.kind IN ('WAIT_MET', 'WAIT_NOT_MET'), 1000000000000, 0) + s.number) AS decided,
            argMaxIf(s.at, s.number, s.kind IN ('WAIT_MET', 'WAIT_NOT_MET')) AS decided_at,
            argMaxIf(s.event_id = '' AND NOT startsWith(s.detail, 'closed by ') AND NOT startsWith(s.detail, 'event '), s.number, s.kind IN ('WAIT_MET', 'WAIT_NOT_MET')) AS by_time
        FROM run_steps AS s
        WHERE s.wait_id != '' AND startsWith(s.contact_key, concat({environment:String}, '/'))
        GROUP BY id
        HAVING NOT max(s.test)
            AND ({store:String} = '' OR startsWith(root, concat({environment:String}, '/', {store:String}, '/')))
            AND opened_at >= parseDateTime64BestEffort({since:String}, 3, 'UTC') AND opened_at < parseDateTime64BestEffort({until:String}, 3, 'UTC')
    ) AS g
) AS w
GROUP BY day, store, workflow, step, shadow;
