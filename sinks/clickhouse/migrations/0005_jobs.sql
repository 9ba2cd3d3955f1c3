-- Jobs, work on what happened before, and what they made of each item; the views that tell which dead letters are open, and
-- group them by cause. What holds for the tables of 0001_tables.sql holds here: one row is one Kafka record, and a
-- repetition is harmless.

-- Sorted by job: all that is asked is how one job does, or which there are, and there are few.
CREATE TABLE IF NOT EXISTS jobs
(
    job_id String COMMENT 'drawn by who asked',
    kind LowCardinality(String) COMMENT 'RETRY, DISMISS, SETTLE, REPLAY or VERIFY',
    filter Map(LowCardinality(String), String) COMMENT 'PII: what the job is about',
    per_minute Int64 COMMENT 'items a minute at most; 0: no limit of its own',
    state LowCardinality(String) COMMENT 'COUNTING, RUNNING, DONE, CANCELLED or FAILED',
    count Int64 COMMENT 'items that match; -1: not counted yet',
    done Int64 COMMENT 'items worked on with success',
    skipped Int64 COMMENT 'items that needed nothing',
    failed Int64 COMMENT 'items that could not be worked on',
    detail String COMMENT 'one sentence, such as why it failed or waits',
    why String COMMENT 'PII: what the person gave as the reason',
    by String COMMENT 'PII: who asked',
    asked_at DateTime64(3, 'UTC') COMMENT 'when it was asked for',
    at DateTime64(3, 'UTC') COMMENT 'when it stood like this',
    _topic LowCardinality(String) COMMENT 'Kafka topic of the record',
    _topic_id LowCardinality(String) COMMENT 'Kafka id of the topic',
    _partition Int32 COMMENT 'Kafka partition of the record',
    _offset Int64 COMMENT 'Kafka offset of the record',
    _at DateTime64(3, 'UTC') COMMENT 'the broker''s timestamp of the record'
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(_at)
ORDER BY (job_id, _topic, _topic_id, _partition, _offset)
SETTINGS non_replicated_deduplication_window = 10000, replicated_deduplication_window = 10000,
    replicated_deduplication_window_seconds = 604800
COMMENT 'How far each job is; the last row of a job says how it stands';

-- Sorted by job and number, as a job's results are read; the last word about an item is found by a skip index, or by the
-- views that group all of them.
CREATE TABLE IF NOT EXISTS job_items
(
    job_id String COMMENT 'the job',
    number Int64 COMMENT 'counts the items of the job from 1',
    item String COMMENT 'PII: id of the dead letter or of the command, or destination and contact',
    kind LowCardinality(String) COMMENT 'of the job',
    result LowCardinality(String) COMMENT 'SENT, DISMISSED, SETTLED, SKIPPED, FAILED, MATCHES or DRIFTED',
    detail String COMMENT 'PII: one sentence',
    destination LowCardinality(String) COMMENT 'where it concerns one',
    contact_key String COMMENT 'PII: where it concerns one',
    by String COMMENT 'PII: who asked for the job',
    at DateTime64(3, 'UTC') COMMENT 'when',
    _topic LowCardinality(String) COMMENT 'Kafka topic of the record',
    _topic_id LowCardinality(String) COMMENT 'Kafka id of the topic',
    _partition Int32 COMMENT 'Kafka partition of the record',
    _offset Int64 COMMENT 'Kafka offset of the record',
    _at DateTime64(3, 'UTC') COMMENT 'the broker''s timestamp of the record',
    INDEX by_item item TYPE bloom_filter(0.001) GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(_at)
ORDER BY (job_id, number, _topic, _topic_id, _partition, _offset)
SETTINGS non_replicated_deduplication_window = 10000, replicated_deduplication_window = 10000,
    replicated_deduplication_window_seconds = 604800
COMMENT 'What each job made of each of its items';

CREATE OR REPLACE VIEW v_jobs
COMMENT 'One row a job, as it stands' AS
SELECT
    j.job_id AS job_id,
    argMax(j.kind, j._offset) AS kind,
    argMax(j.filter, j._offset) AS filter,
    argMax(j.per_minute, j._offset) AS per_minute,
    argMax(j.state, j._offset) AS state,
    argMax(j.count, j._offset) AS count,
    argMax(j.done, j._offset) AS done,
    argMax(j.skipped, j._offset) AS skipped,
    argMax(j.failed, j._offset) AS failed,
    argMax(j.detail, j._offset) AS detail,
    argMax(j.why, j._offset) AS why,
    argMax(j.by, j._offset) AS by,
    argMax(j.asked_at, j._offset) AS asked_at,
    argMax(j.at, j._offset) AS at
FROM jobs AS j
GROUP BY job_id;

CREATE OR REPLACE VIEW v_item_words
COMMENT 'The last word of a person about each dead letter and uncertain effect: SENT (tried again), DISMISSED, SETTLED or FAILED. A job that found an item closed already says nothing' AS
SELECT
    i.item AS item,
    argMax(i.result, (i._at, i._offset)) AS result,
    argMax(i.job_id, (i._at, i._offset)) AS job_id,
    argMax(i.by, (i._at, i._offset)) AS by,
    argMax(i.detail, (i._at, i._offset)) AS detail,
    max(i._at) AS at
FROM job_items AS i
WHERE i.kind IN ('RETRY', 'DISMISS', 'SETTLE') AND i.result != 'SKIPPED'
GROUP BY item;

-- The expressions of pattern and issue are those of package jobs (ReasonPattern, IssueKey), which a test compares.
CREATE OR REPLACE VIEW v_letters
COMMENT 'One row a dead letter. item is its name in jobs, issue the key of the group of its cause. state is OPEN, RETRIED or DISMISSED; a retry that could not be made leaves it open' AS
SELECT
    l.item AS item,
    l.id AS id,
    l.stage AS stage,
    l.cause AS cause,
    l.reason AS reason,
    l.remedy AS remedy,
    l.topic AS topic,
    l.partition AS partition,
    l.offset AS offset,
    l.event_id AS event_id,
    l.root_key AS root_key,
    l.destination AS destination,
    l.contact_key AS contact_key,
    l.config_version AS config_version,
    l.at AS at,
    l.environment AS environment,
    l.connection AS connection,
    l.place AS place,
    l.pattern AS pattern,
    lower(hex(substring(SHA256(concat(l.stage, '\n', l.cause, '\n', l.place, '\n', l.pattern)), 1, 5))) AS issue,
    multiIf(w.result = 'SENT', 'RETRIED', w.result = 'DISMISSED', 'DISMISSED', 'OPEN') AS state,
    w.job_id AS job_id,
    w.by AS by,
    w.detail AS word,
    w.at AS word_at
FROM
(
    SELECT
        if(stage = 'clickhouse', concat('clickhouse/', id), toString(id)) AS item,
        splitByChar('/', root_key) AS root,
        if(length(root) >= 3, root[1], if(position(contact_key, '/') > 0, splitByChar('/', contact_key)[1], '')) AS environment,
        if(length(root) >= 3, root[2], '') AS connection,
        multiIf(destination != '', toString(destination), length(root) >= 3, concat(root[1], '/', root[2]), toString(topic)) AS place,
        substring(replaceRegexpAll(replaceRegexpAll(replaceRegexpAll(replaceRegexpAll(reason,
            '"[^"]*"', '*'),
            '[^\\s"@<>()]+@[^\\s"@<>()]+', '*'),
            'https?://\\S+', '*'),
            '[A-Za-z0-9_.:/-]*[0-9][A-Za-z0-9_.:/-]*', '*'), 1, 300) AS pattern,
        id, stage, cause, reason, remedy, topic, partition, offset, event_id, root_key, destination, contact_key, config_version, at
    FROM dead_letters
    ORDER BY at DESC
    LIMIT 1 BY item
) AS l
LEFT JOIN v_item_words AS w ON w.item = l.item;

CREATE OR REPLACE VIEW v_issues
COMMENT 'Dead letters grouped by cause: stage, code, place (destination, else environment and connection, else topic), and the reason without what differs. state is OPEN; RETRIED or DISMISSED where none is open; REOPENED where letters came after all earlier ones were retried or dismissed' AS
SELECT
    v.issue AS issue,
    any(v.stage) AS stage,
    any(v.cause) AS cause,
    any(v.place) AS place,
    any(v.destination) AS destination,
    any(v.pattern) AS pattern,
    count() AS letters,
    countIf(v.state = 'OPEN') AS open,
    countIf(v.state = 'RETRIED') AS retried,
    countIf(v.state = 'DISMISSED') AS dismissed,
    min(v.at) AS first_seen,
    max(v.at) AS last_seen,
    argMax(v.reason, (v.at, v.item)) AS reason,
    argMax(v.remedy, (v.at, v.item)) AS remedy,
    argMax(v.item, (v.state = 'OPEN', v.at, v.item)) AS sample,
    multiIf(open = 0 AND retried = 0, 'DISMISSED', open = 0, 'RETRIED',
        open < letters AND minIf(v.at, v.state = 'OPEN') > maxIf(v.at, v.state != 'OPEN'), 'REOPENED', 'OPEN') AS state
FROM v_letters AS v
GROUP BY issue;
