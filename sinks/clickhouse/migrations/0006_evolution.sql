-- Columns for what the records of events learned, and what a person's erasure leaves behind.

ALTER TABLE events
    ADD COLUMN IF NOT EXISTS problem_cause LowCardinality(String) COMMENT 'code of the problem, as in dead_letters; empty: UNPARSEABLE' AFTER problem,
    ADD COLUMN IF NOT EXISTS headers Map(LowCardinality(String), String) COMMENT 'PII: headers of the delivery that say what its body does not' AFTER problem_cause,
    ADD COLUMN IF NOT EXISTS versioned Bool COMMENT 'sequence alone orders the events of this root' AFTER headers,
    ADD COLUMN IF NOT EXISTS deleted Bool COMMENT 'the provider removed the object' AFTER versioned;

-- The keys under which addresses of erased persons are hashed: whoever reads them can test whether an address is among the
-- erased. One is drawn before the first erasure. Two that began at once may draw one each: then both hold.
CREATE TABLE IF NOT EXISTS erasure_keys
(
    key String COMMENT 'PII: 32 random bytes, as hexadecimal text; grant it to the loader and to who erases, to nobody else',
    at DateTime64(3, 'UTC') COMMENT 'when it was drawn'
)
ENGINE = ReplacingMergeTree
ORDER BY key
COMMENT 'Keys of the hashes in erased_subjects';

-- What a row is known by that must not name its person again, whenever it comes. No address stands here.
CREATE TABLE IF NOT EXISTS erased_subjects
(
    kind LowCardinality(String) COMMENT 'ADDRESS (keyed hash of an e-mail address), CONTACT (keyed hash of a contact key) or ROOT (key of an order)',
    subject String COMMENT 'the hash or the key',
    pseudonym String COMMENT 'what stands in contact_key instead; equal for all of one person',
    erasure_id String COMMENT 'the erasure that wrote it last',
    lifted Bool COMMENT 'the person came back: what comes from now on names him again',
    at DateTime64(6, 'UTC') COMMENT 'when it was written; the last row of a subject counts'
)
ENGINE = ReplacingMergeTree(at)
ORDER BY (kind, subject)
COMMENT 'Who was erased, without names: rows of theirs that are stored again lose what names them';

CREATE TABLE IF NOT EXISTS erasures
(
    erasure_id String COMMENT 'of the receipt',
    subject String COMMENT 'keyed hash of the e-mail address',
    asked_by String COMMENT 'who asked for it',
    lifted Bool COMMENT 'this one took an erasure back, for what comes from then on',
    tables Map(String, UInt64) COMMENT 'table to number of rows that lost what named the person',
    at DateTime64(3, 'UTC') COMMENT 'when it was asked',
    done_at DateTime64(3, 'UTC') COMMENT 'when the last row was changed'
)
ENGINE = ReplacingMergeTree
ORDER BY (at, erasure_id)
COMMENT 'Receipts of erasures';
