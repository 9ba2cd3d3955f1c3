-- The runs of workflows: their steps, and the views that tell of a run and of a wait. What holds for the tables of
-- 0001_tables.sql holds here: one row is one Kafka record, and a repetition is harmless.

-- Sorted by workflow, contact and run: a contact's steps stand together, so that a run or a wait is a few granules, the
-- views group rows that are neighbours, and a report about one workflow reads that workflow. number puts the steps of a run
-- in order. Runs, waits, orders and events are found by skip indexes, because they are asked for one at a time.
CREATE TABLE IF NOT EXISTS run_steps
(
    workflow LowCardinality(String) COMMENT 'name of the workflow''s file',
    contact_key String COMMENT 'PII: environment and e-mail, or payer id',
    run_id String COMMENT 'the same for the same cause, whoever computes it',
    number Int64 COMMENT 'counts the steps of the run from 1; a correction counts from 1048576',
    workflow_version LowCardinality(String) COMMENT 'hash of what the file says; a run keeps the one it started under',
    config_version LowCardinality(String) COMMENT 'the configuration in force at the step',
    root_key String COMMENT 'the order or subscription that the run is about; empty: none',
    event_id String COMMENT 'what caused the step; empty: a deadline, an answer or a person',
    step LowCardinality(String) COMMENT 'id of the step in the workflow; empty: the run as a whole',
    kind LowCardinality(String) COMMENT 'STARTED, NOT_STARTED, CONDITION, ASKED, WAIT_OPENED, WAIT_MET, WAIT_NOT_MET, WAIT_CORRECTED, ACTION, HELD, FAILED, MIGRATED, ENDED or STOPPED',
    detail String COMMENT 'PII: one sentence for a person; it may hold what the event said',
    wait_id String COMMENT 'the wait that the step opened, ended or corrected',
    deadline DateTime64(3, 'UTC') COMMENT 'when an opened wait counts as not met; 1970-01-01: never',
    command_id String COMMENT 'the command that the action wrote, or that asked',
    destination LowCardinality(String) COMMENT 'where the action goes',
    origin LowCardinality(String) COMMENT 'WEBHOOK, POLL, BACKFILL or REPLAY: of the event that started the run',
    test Bool COMMENT 'caused by a test event; no report counts it',
    shadow Bool COMMENT 'the workflow was only watched; its actions wrote no command',
    at DateTime64(3, 'UTC') COMMENT 'stream time of the step',
    _topic LowCardinality(String) COMMENT 'Kafka topic of the record',
    _topic_id LowCardinality(String) COMMENT 'Kafka id of the topic',
    _partition Int32 COMMENT 'Kafka partition of the record',
    _offset Int64 COMMENT 'Kafka offset of the record',
    _at DateTime64(3, 'UTC') COMMENT 'the broker''s timestamp of the record',
    INDEX by_contact_key contact_key TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX by_run_id run_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX by_wait_id wait_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX by_root_key root_key TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX by_event_id event_id TYPE bloom_filter(0.001) GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(_at)
ORDER BY (workflow, contact_key, run_id, number, _topic, _topic_id, _partition, _offset)
SETTINGS non_replicated_deduplication_window = 10000, replicated_deduplication_window = 10000,
    replicated_deduplication_window_seconds = 604800
COMMENT 'Every step of every run of a workflow, and why';

ALTER TABLE commands
    ADD COLUMN IF NOT EXISTS rule LowCardinality(String) COMMENT 'what made an effect: mappings/NAME, or workflows/NAME#STEP' AFTER issues,
    ADD COLUMN IF NOT EXISTS run_id String COMMENT 'the run of that workflow' AFTER rule,
    ADD COLUMN IF NOT EXISTS reasons Array(String) COMMENT 'which rule added or removed which tag with this version, a line each' AFTER run_id,
    ADD COLUMN IF NOT EXISTS effect_arguments Map(LowCardinality(String), String) COMMENT 'PII: meaning given by effect_type' AFTER effect_data;

ALTER TABLE commands ADD INDEX IF NOT EXISTS by_run_id run_id TYPE bloom_filter(0.001) GRANULARITY 1;

CREATE OR REPLACE VIEW v_runs
COMMENT 'One row a run. state is OPEN, ENDED, STOPPED (before its last step), or NOT_STARTED (a rule held it back). Version is the newest one that it went by. Corrections are runs of their own' AS
SELECT
    r.workflow AS workflow,
    r.contact_key AS contact_key,
    r.run_id AS run_id,
    argMax(r.workflow_version, (r.kind != 'WAIT_CORRECTED', r.number)) AS workflow_version,
    argMin(r.config_version, r.number) AS config_version,
    argMax(r.root_key, (r.root_key != '', r.number)) AS root_key,
    argMin(r.event_id, r.number) AS event_id,
    argMax(r.origin, (r.origin != '', r.number)) AS origin,
    max(r.test) AS test,
    max(r.shadow) AS shadow,
    multiIf(max(r.kind = 'STOPPED'), 'STOPPED', max(r.kind = 'ENDED'), 'ENDED', max(r.kind = 'NOT_STARTED'), 'NOT_STARTED', 'OPEN') AS state,
    min(r.at) AS started_at,
    maxIf(r.at, r.kind != 'WAIT_CORRECTED') AS last_at,
    argMax(r.step, (r.step != '' AND r.kind != 'WAIT_CORRECTED', r.number)) AS last_step,
    argMax(r.kind, (r.kind != 'WAIT_CORRECTED', r.number)) AS last_kind,
    argMax(r.detail, (r.kind != 'WAIT_CORRECTED', r.number)) AS last_detail,
    uniqExact(r.number) AS steps,
    uniqExactIf(r.wait_id, r.wait_id != '') AS waits,
    max(r.kind = 'WAIT_CORRECTED') AS corrected
FROM run_steps AS r
GROUP BY workflow, contact_key, run_id;

CREATE OR REPLACE VIEW v_waits
COMMENT 'One row a wait. state is OPEN, MET, NOT_MET, CORRECTED (counted as not met, and what came late had happened in time), or STOPPED (its run ended before it). decided_by is event, deadline or person; a wait for time alone is MET by its deadline. deadline and closed_at are 1970-01-01 where there is none' AS
SELECT
    w.wait_id AS wait_id,
    w.run_id AS run_id,
    w.workflow AS workflow,
    w.workflow_version AS workflow_version,
    w.config_version AS config_version,
    w.step AS step,
    w.contact_key AS contact_key,
    w.root_key AS root_key,
    w.origin AS origin,
    w.test AS test,
    w.shadow AS shadow,
    multiIf(w.corrected, 'CORRECTED', w.decision != '', substring(w.decision, 6), w.run_over, 'STOPPED', 'OPEN') AS state,
    w.opened_at AS opened_at,
    w.deadline AS deadline,
    w.opened_detail AS opened_detail,
    if(w.decision = '' AND w.run_over, w.over_at, w.decided_at) AS closed_at,
    multiIf(w.decision = '', '', startsWith(w.decided_detail, 'closed by '), 'person',
        w.decided_event != '' OR startsWith(w.decided_detail, 'event '), 'event', 'deadline') AS decided_by,
    w.decided_event AS decided_event,
    w.decided_detail AS decided_detail,
    w.corrected_at AS corrected_at
FROM
(
    SELECT
        g.*,
        max(g.over) OVER (PARTITION BY g.workflow, g.contact_key, g.run_id) AS run_over,
        max(g.ended_at) OVER (PARTITION BY g.workflow, g.contact_key, g.run_id) AS over_at
    FROM
    (
        SELECT
            s.workflow AS workflow,
            s.contact_key AS contact_key,
            s.run_id AS run_id,
            s.wait_id AS wait_id,
            argMax(s.workflow_version, (s.kind IN ('WAIT_OPENED', 'MIGRATED'), s.number)) AS workflow_version,
            argMax(s.config_version, (s.kind IN ('WAIT_OPENED', 'MIGRATED'), s.number)) AS config_version,
            argMax(s.step, (s.kind IN ('WAIT_OPENED', 'MIGRATED'), s.number)) AS step,
            argMax(s.root_key, (s.root_key != '', s.number)) AS root_key,
            argMax(s.origin, (s.origin != '', s.number)) AS origin,
            max(s.test) AS test,
            max(s.shadow) AS shadow,
            argMaxIf(s.kind, s.number, s.kind IN ('WAIT_MET', 'WAIT_NOT_MET')) AS decision,
            max(s.kind = 'WAIT_CORRECTED') AS corrected,
            min(s.at) AS opened_at,
            argMaxIf(s.deadline, s.number, s.kind IN ('WAIT_OPENED', 'MIGRATED')) AS deadline,
            argMinIf(s.detail, s.number, s.kind = 'WAIT_OPENED') AS opened_detail,
            argMaxIf(s.at, s.number, s.kind IN ('WAIT_MET', 'WAIT_NOT_MET')) AS decided_at,
            argMaxIf(s.event_id, s.number, s.kind IN ('WAIT_MET', 'WAIT_NOT_MET')) AS decided_event,
            argMaxIf(s.detail, s.number, s.kind IN ('WAIT_MET', 'WAIT_NOT_MET')) AS decided_detail,
            maxIf(s.at, s.kind = 'WAIT_CORRECTED') AS corrected_at,
            max(s.kind IN ('ENDED', 'STOPPED')) AS over,
            maxIf(s.at, s.kind IN ('ENDED', 'STOPPED')) AS ended_at
        FROM run_steps AS s
        GROUP BY workflow, contact_key, run_id, wait_id
    ) AS g
) AS w
WHERE w.wait_id != '';

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
        v.opened_at, v.workflow, v.step, v.shadow, v.state, v.deadline,
        splitByChar('/', v.root_key)[2] AS store,
        v.state = 'MET' AND v.decided_by = 'deadline' AS passed,
        dateDiff('second', v.opened_at, v.closed_at) / 3600 AS hours
    FROM v_waits AS v
    WHERE NOT v.test AND startsWith(v.contact_key, concat({environment:String}, '/'))
        AND ({store:String} = '' OR startsWith(v.root_key, concat({environment:String}, '/', {store:String}, '/')))
        AND v.opened_at >= parseDateTime64BestEffort({since:String}, 3, 'UTC') AND v.opened_at < parseDateTime64BestEffort({until:String}, 3, 'UTC')
) AS w
GROUP BY day, store, workflow, step, shadow;

CREATE OR REPLACE VIEW v_workflow_runs
COMMENT 'Runs that began in the span (stream time), by workflow and store; runs of contacts without an order have no store. not_started matched a start and were held back, and are not among runs. shadow: the workflow is only watched' AS
SELECT
    r.workflow AS workflow,
    splitByChar('/', r.root_key)[2] AS store,
    r.shadow AS shadow,
    countIf(r.state != 'NOT_STARTED') AS runs,
    countIf(r.state = 'OPEN') AS open,
    countIf(r.state = 'ENDED') AS ended,
    countIf(r.state = 'STOPPED') AS stopped,
    countIf(r.state = 'NOT_STARTED') AS not_started,
    uniqExactIf(r.contact_key, r.state != 'NOT_STARTED') AS contacts,
    min(r.started_at) AS first_at,
    max(r.started_at) AS last_at
FROM v_runs AS r
WHERE NOT r.test AND startsWith(r.contact_key, concat({environment:String}, '/'))
    AND ({store:String} = '' OR startsWith(r.root_key, concat({environment:String}, '/', {store:String}, '/')))
    AND r.started_at >= parseDateTime64BestEffort({since:String}, 3, 'UTC') AND r.started_at < parseDateTime64BestEffort({until:String}, 3, 'UTC')
GROUP BY workflow, store, shadow;

CREATE OR REPLACE VIEW v_branches
COMMENT 'How often each branch of each step was taken in the span (stream time), and by how many runs and contacts. branch is then or else of a condition, met or not_met of a wait (a wait for time alone is met by its time), corrected, or not_counted: an event came that a wait does not count. shadow: the workflow is only watched' AS
SELECT
    s.workflow AS workflow,
    s.step AS step,
    multiIf(s.kind = 'WAIT_MET', 'met', s.kind = 'WAIT_NOT_MET', 'not_met', s.kind = 'WAIT_CORRECTED', 'corrected',
        startsWith(s.detail, 'yes') OR s.detail = 'the contact is on the list', 'then', startsWith(s.detail, 'no:') OR startsWith(s.detail, 'the contact is '), 'else', 'not_counted') AS branch,
    s.shadow AS shadow,
    uniqExact((s.run_id, s.number)) AS times,
    uniqExact(s.run_id) AS runs,
    uniqExact(s.contact_key) AS contacts,
    min(s.at) AS first_at,
    max(s.at) AS last_at
FROM run_steps AS s
WHERE NOT s.test AND startsWith(s.contact_key, concat({environment:String}, '/'))
    AND ({store:String} = '' OR startsWith(s.root_key, concat({environment:String}, '/', {store:String}, '/')))
    AND s.kind IN ('CONDITION', 'WAIT_MET', 'WAIT_NOT_MET', 'WAIT_CORRECTED') AND NOT startsWith(s.detail, 'no wait')
    AND s.at >= parseDateTime64BestEffort({since:String}, 3, 'UTC') AND s.at < parseDateTime64BestEffort({until:String}, 3, 'UTC')
GROUP BY workflow, step, branch, shadow;

CREATE OR REPLACE VIEW v_held
COMMENT 'What workflows did not do in the span (stream time): actions that were HELD by consent or by where the event came from, that FAILED, runs that were NOT_STARTED or STOPPED; by workflow, step and destination. Why, each contact''s explain says' AS
SELECT
    s.workflow AS workflow,
    s.step AS step,
    s.kind AS kind,
    s.destination AS destination,
    uniqExact((s.run_id, s.number)) AS times,
    uniqExact(s.contact_key) AS contacts,
    min(s.at) AS first_at,
    max(s.at) AS last_at
FROM run_steps AS s
WHERE NOT s.test AND NOT s.shadow AND startsWith(s.contact_key, concat({environment:String}, '/'))
    AND ({store:String} = '' OR startsWith(s.root_key, concat({environment:String}, '/', {store:String}, '/')))
    AND s.kind IN ('HELD', 'FAILED', 'NOT_STARTED', 'STOPPED')
    AND s.at >= parseDateTime64BestEffort({since:String}, 3, 'UTC') AND s.at < parseDateTime64BestEffort({until:String}, 3, 'UTC')
GROUP BY workflow, step, kind, destination;

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
SELECT 'run_steps', '', uniqExact((_topic_id, _partition, _offset)) FROM run_steps
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
