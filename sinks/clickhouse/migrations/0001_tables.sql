-- The tables of records. What holds for each of them:
--
-- One row is one Kafka record. _topic, _topic_id, _partition and _offset name it, they end every sorting key, and so a
-- ReplacingMergeTree only ever merges repetitions of the same record: no two records can swallow each other.
-- PARTITION BY is the month of the broker's timestamp (_at). It is a property of the record, so a repeated insert lands
-- in the partition of the first one (a time out of the payload could change with a better normaliser), and FINAL
-- may work partition by partition (do_not_merge_across_partitions_select_final).
-- The deduplication windows let an insert be repeated under its token; both kinds are set so that the tables keep the
-- promise when a Replicated database turns the engine into a replicated one.
-- TTL: retention is the operator's decision. Add it with ALTER TABLE ... MODIFY TTL _at + INTERVAL n MONTH.
-- "PII" opens the comment of each column that names or finds a person.
-- Times hold milliseconds, UTC; 1970-01-01 where the record says none.

CREATE TABLE IF NOT EXISTS events
(
    environment LowCardinality(String) COMMENT 'sandbox or live; never added up together',
    connection LowCardinality(String) COMMENT 'configured name of the account or store',
    root_id String COMMENT 'order or subscription where the event names it, else what it does name',
    event_id String COMMENT 'the provider''s id of the event; the same for every sending of it',
    kind LowCardinality(String) COMMENT 'ORDER, SUBSCRIPTION, PAYMENT, REFUND, DISPUTE or OTHER',
    provider LowCardinality(String) COMMENT 'connector type',
    resource LowCardinality(String) COMMENT 'id of the connector''s resource; empty: none takes this event type',
    entity_id String COMMENT 'what the event is about: order, capture, sale, refund, dispute',
    link_relations Array(LowCardinality(String)) COMMENT 'relations of link_ids, by position',
    link_ids Array(String) COMMENT 'ids of the entities this one belongs to',
    event_type LowCardinality(String) COMMENT 'the provider''s own event type',
    provider_status LowCardinality(String) COMMENT 'the provider''s own status word',
    status LowCardinality(String) COMMENT 'canonical payment status',
    provider_time DateTime64(3, 'UTC') COMMENT 'when the entity changed, by the provider',
    sequence Int64 COMMENT 'breaks ties of provider_time where the provider counts',
    received_at DateTime64(3, 'UTC') COMMENT 'when the delivery arrived',
    delivery_ids Array(String) COMMENT 'the provider''s ids of this sending',
    origin LowCardinality(String) COMMENT 'WEBHOOK, POLL, BACKFILL or REPLAY',
    amount Nullable(Decimal(38, 9)) COMMENT 'money of the event; NULL where it has none',
    currency LowCardinality(String) COMMENT 'ISO 4217 code of amount; never add unlike ones',
    refunded_total Nullable(Decimal(38, 9)) COMMENT 'the provider''s running total refunded of the payment',
    refunded_currency LowCardinality(String) COMMENT 'ISO 4217 code of refunded_total',
    contact_key String COMMENT 'PII: environment and normalised e-mail, or payer id where there is none',
    payer_email String COMMENT 'PII',
    payer_given_name String COMMENT 'PII',
    payer_surname String COMMENT 'PII',
    payer_full_name String COMMENT 'PII',
    payer_phone String COMMENT 'PII',
    payer_id String COMMENT 'PII: the provider''s id of the customer',
    payer_line1 String COMMENT 'PII',
    payer_line2 String COMMENT 'PII',
    payer_city String COMMENT 'PII',
    payer_state String COMMENT 'PII',
    payer_postal_code String COMMENT 'PII',
    payer_country LowCardinality(String) COMMENT 'ISO 3166 alpha-2',
    custom_id String COMMENT 'the merchant''s own id, as sent to the provider',
    invoice_id String COMMENT 'the merchant''s invoice number',
    fields Map(LowCardinality(String), String) COMMENT 'PII: further provider fields by catalogue name',
    body String COMMENT 'PII: the body exactly as received' CODEC(ZSTD(3)),
    body_hash String COMMENT 'hash of body',
    fingerprint String COMMENT 'equal for two sendings of one event, differs when its content was changed',
    test Bool COMMENT 'a test event; no report counts it',
    problem String COMMENT 'why the body could not be normalised; empty: it could',
    _topic LowCardinality(String) COMMENT 'Kafka topic of the record',
    _topic_id LowCardinality(String) COMMENT 'Kafka id of the topic; a recreated topic is another one',
    _partition Int32 COMMENT 'Kafka partition of the record',
    _offset Int64 COMMENT 'Kafka offset of the record',
    _at DateTime64(3, 'UTC') COMMENT 'the broker''s timestamp of the record',
    INDEX by_root_id root_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX by_event_id event_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX by_entity_id entity_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX by_link_ids link_ids TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX by_delivery_ids delivery_ids TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX by_contact_key contact_key TYPE bloom_filter(0.001) GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(_at)
ORDER BY (environment, connection, root_id, _topic, _topic_id, _partition, _offset)
SETTINGS non_replicated_deduplication_window = 10000, replicated_deduplication_window = 10000,
    replicated_deduplication_window_seconds = 604800
COMMENT 'Every record of paypal.events and store.orders as it came in, duplicates included';

CREATE TABLE IF NOT EXISTS transitions
(
    root_key String COMMENT 'environment/connection/id of the order or subscription',
    number Int64 COMMENT 'counts the transitions of the root from 1',
    root_kind LowCardinality(String) COMMENT 'ORDER, SUBSCRIPTION, or PAYMENT where no root is known',
    environment LowCardinality(String) COMMENT 'sandbox or live',
    connection LowCardinality(String) COMMENT 'configured name of the account or store',
    root_id String COMMENT 'last part of root_key',
    disposition LowCardinality(String) COMMENT 'CHANGED, RECORDED, LATE, DUPLICATE or IGNORED',
    from_status LowCardinality(String) COMMENT 'empty: the first event of the root',
    to_status LowCardinality(String) COMMENT 'status after the event',
    legal Bool COMMENT 'false: flagged, and applied all the same',
    why String COMMENT 'one sentence for a person',
    orphan Bool COMMENT 'what it waited for did not come in time',
    provider LowCardinality(String) COMMENT 'connector type',
    event_id String COMMENT 'the event that caused it',
    event_kind LowCardinality(String) COMMENT 'kind of that event',
    event_type LowCardinality(String) COMMENT 'the provider''s own event type',
    entity_id String COMMENT 'what the event is about',
    provider_status LowCardinality(String) COMMENT 'the provider''s own status word',
    event_status LowCardinality(String) COMMENT 'canonical status that the event itself says',
    provider_time DateTime64(3, 'UTC') COMMENT 'when the entity changed, by the provider',
    received_at DateTime64(3, 'UTC') COMMENT 'when the delivery arrived',
    origin LowCardinality(String) COMMENT 'WEBHOOK, POLL, BACKFILL or REPLAY',
    delivery_ids Array(String) COMMENT 'the provider''s ids of the sending',
    body_hash String COMMENT 'hash of the body of the event',
    amount Nullable(Decimal(38, 9)) COMMENT 'money of the event; NULL where it has none',
    amount_currency LowCardinality(String) COMMENT 'ISO 4217 code of amount',
    paid Nullable(Decimal(38, 9)) COMMENT 'captured so far over the root, in currency; NULL where not said',
    refunded Nullable(Decimal(38, 9)) COMMENT 'refunded so far over the root, in currency; NULL where not said',
    currency LowCardinality(String) COMMENT 'ISO 4217 code of paid and refunded',
    contact_key String COMMENT 'PII: the contact as known so far; empty: not known yet',
    payer_email String COMMENT 'PII',
    payer_given_name String COMMENT 'PII',
    payer_surname String COMMENT 'PII',
    payer_full_name String COMMENT 'PII',
    payer_phone String COMMENT 'PII',
    payer_id String COMMENT 'PII',
    payer_country LowCardinality(String) COMMENT 'ISO 3166 alpha-2',
    test Bool COMMENT 'caused by a test event; no report counts it',
    at DateTime64(3, 'UTC') COMMENT 'stream time at which it was applied',
    _topic LowCardinality(String) COMMENT 'Kafka topic of the record',
    _topic_id LowCardinality(String) COMMENT 'Kafka id of the topic',
    _partition Int32 COMMENT 'Kafka partition of the record',
    _offset Int64 COMMENT 'Kafka offset of the record',
    _at DateTime64(3, 'UTC') COMMENT 'the broker''s timestamp of the record',
    INDEX by_root_id root_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX by_event_id event_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX by_entity_id entity_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX by_delivery_ids delivery_ids TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX by_contact_key contact_key TYPE bloom_filter(0.001) GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(_at)
ORDER BY (root_key, number, _topic, _topic_id, _partition, _offset)
SETTINGS non_replicated_deduplication_window = 10000, replicated_deduplication_window = 10000,
    replicated_deduplication_window_seconds = 604800
COMMENT 'What became of every event: a status change, or why there was none';

CREATE TABLE IF NOT EXISTS commands
(
    destination LowCardinality(String) COMMENT 'configured name of the CRM connection',
    contact_key String COMMENT 'PII: environment and e-mail, or payer id',
    command_id String COMMENT 'the same for the same cause, whoever computes it',
    kind LowCardinality(String) COMMENT 'CONTACT (a desired state) or EFFECT (something that happens once)',
    version Int64 COMMENT 'of the desired state of the contact at the destination; grows',
    contact_email String COMMENT 'PII',
    contact_first_name String COMMENT 'PII',
    contact_last_name String COMMENT 'PII',
    contact_phone String COMMENT 'PII',
    contact_fields Map(LowCardinality(String), String) COMMENT 'PII: CRM field to value',
    contact_tags Array(LowCardinality(String)) COMMENT 'tags that must be present',
    contact_no_tags Array(LowCardinality(String)) COMMENT 'tags that must be absent',
    effect_type LowCardinality(String) COMMENT 'empty for a desired state',
    effect_name String COMMENT 'meaning given by effect_type',
    effect_data String COMMENT 'PII: meaning given by effect_type',
    config_version LowCardinality(String) COMMENT 'the configuration that made the command',
    root_key String COMMENT 'the order that caused it',
    event_id String COMMENT 'the event that caused it',
    trigger LowCardinality(String) COMMENT 'id of the trigger, for an effect',
    issues Array(String) COMMENT 'mapped values that could not be made; their fields were left alone',
    origin LowCardinality(String) COMMENT 'WEBHOOK, POLL, BACKFILL or REPLAY',
    test Bool COMMENT 'caused by a test event',
    at DateTime64(3, 'UTC') COMMENT 'stream time at which it was made',
    _topic LowCardinality(String) COMMENT 'Kafka topic of the record',
    _topic_id LowCardinality(String) COMMENT 'Kafka id of the topic',
    _partition Int32 COMMENT 'Kafka partition of the record',
    _offset Int64 COMMENT 'Kafka offset of the record',
    _at DateTime64(3, 'UTC') COMMENT 'the broker''s timestamp of the record',
    INDEX by_contact_key contact_key TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX by_command_id command_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX by_root_key root_key TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX by_event_id event_id TYPE bloom_filter(0.001) GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(_at)
ORDER BY (destination, contact_key, version, _topic, _topic_id, _partition, _offset)
SETTINGS non_replicated_deduplication_window = 10000, replicated_deduplication_window = 10000,
    replicated_deduplication_window_seconds = 604800
COMMENT 'What a destination was asked for';

CREATE TABLE IF NOT EXISTS deliveries
(
    destination LowCardinality(String) COMMENT 'configured name of the CRM connection',
    command_id String COMMENT 'the command it is about',
    attempt Int64 COMMENT 'counts the tries of the command',
    kind LowCardinality(String) COMMENT 'CONTACT or EFFECT',
    contact_key String COMMENT 'PII: environment and e-mail, or payer id',
    version Int64 COMMENT 'of the desired state',
    outcome LowCardinality(String) COMMENT 'INTENT, DELIVERED, SUPERSEDED, REJECTED, RETRYABLE or UNCERTAIN',
    request_at Array(DateTime64(3, 'UTC')) COMMENT 'the request_* columns are the redacted exchanges of the try, by position',
    request_method Array(LowCardinality(String)) COMMENT 'HTTP method',
    request_url Array(String) COMMENT 'PII: address asked, redacted',
    request_body Array(String) COMMENT 'PII: body sent, redacted and cut' CODEC(ZSTD(3)),
    response_status Array(Int64) COMMENT 'HTTP status; 0: no answer',
    response_body Array(String) COMMENT 'PII: body of the answer, redacted and cut' CODEC(ZSTD(3)),
    request_error Array(String) COMMENT 'why there was no answer',
    request_millis Array(Int64) COMMENT 'milliseconds until the answer',
    error String COMMENT 'why it was not delivered',
    remedy String COMMENT 'what a person can do about it',
    config_version LowCardinality(String) COMMENT 'the configuration that made the command',
    root_key String COMMENT 'the order that caused it',
    event_id String COMMENT 'the event that caused it',
    origin LowCardinality(String) COMMENT 'WEBHOOK, POLL, BACKFILL or REPLAY',
    test Bool COMMENT 'caused by a test event',
    started_at DateTime64(3, 'UTC') COMMENT 'when the try began',
    at DateTime64(3, 'UTC') COMMENT 'when the outcome was known',
    _topic LowCardinality(String) COMMENT 'Kafka topic of the record',
    _topic_id LowCardinality(String) COMMENT 'Kafka id of the topic',
    _partition Int32 COMMENT 'Kafka partition of the record',
    _offset Int64 COMMENT 'Kafka offset of the record',
    _at DateTime64(3, 'UTC') COMMENT 'the broker''s timestamp of the record',
    INDEX by_command_id command_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX by_contact_key contact_key TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX by_root_key root_key TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX by_event_id event_id TYPE bloom_filter(0.001) GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(_at)
ORDER BY (destination, command_id, attempt, _topic, _topic_id, _partition, _offset)
SETTINGS non_replicated_deduplication_window = 10000, replicated_deduplication_window = 10000,
    replicated_deduplication_window_seconds = 604800
COMMENT 'Every try, or the final word, about a command, with its requests and answers';

CREATE TABLE IF NOT EXISTS dead_letters
(
    id String COMMENT 'topic-partition-offset of the source record, or a content hash where there is none',
    stage LowCardinality(String) COMMENT 'who could not process it',
    cause LowCardinality(String) COMMENT 'code of the cause',
    reason String COMMENT 'what happened to what',
    remedy String COMMENT 'what to do',
    topic LowCardinality(String) COMMENT 'topic of the source record',
    partition Int64 COMMENT 'partition of the source record',
    offset Int64 COMMENT 'offset of the source record',
    key String COMMENT 'PII: key of the source record',
    value String COMMENT 'PII: value of the source record' CODEC(ZSTD(3)),
    event_id String COMMENT 'the event it is about, where known',
    root_key String COMMENT 'the order it is about, where known',
    destination LowCardinality(String) COMMENT 'configured name of the CRM connection',
    contact_key String COMMENT 'PII: the contact it is about, where known',
    config_version LowCardinality(String) COMMENT 'configuration in force',
    at DateTime64(3, 'UTC') COMMENT 'when it was given up',
    _topic LowCardinality(String) COMMENT 'Kafka topic of the record',
    _topic_id LowCardinality(String) COMMENT 'Kafka id of the topic',
    _partition Int32 COMMENT 'Kafka partition of the record',
    _offset Int64 COMMENT 'Kafka offset of the record',
    _at DateTime64(3, 'UTC') COMMENT 'the broker''s timestamp of the record',
    INDEX by_event_id event_id TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX by_root_key root_key TYPE bloom_filter(0.001) GRANULARITY 1,
    INDEX by_contact_key contact_key TYPE bloom_filter(0.001) GRANULARITY 1
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(_at)
ORDER BY (id, _topic, _topic_id, _partition, _offset)
SETTINGS non_replicated_deduplication_window = 10000, replicated_deduplication_window = 10000,
    replicated_deduplication_window_seconds = 604800
COMMENT 'What could not be processed, with its bytes and cause; one id may be written more than once';

CREATE TABLE IF NOT EXISTS config_versions
(
    version String COMMENT 'short hash of files',
    files Map(String, String) COMMENT 'file name to text; secrets are references in it' CODEC(ZSTD(3)),
    at DateTime64(3, 'UTC') COMMENT 'when it was accepted',
    _topic LowCardinality(String) COMMENT 'Kafka topic of the record',
    _topic_id LowCardinality(String) COMMENT 'Kafka id of the topic',
    _partition Int32 COMMENT 'Kafka partition of the record',
    _offset Int64 COMMENT 'Kafka offset of the record',
    _at DateTime64(3, 'UTC') COMMENT 'the broker''s timestamp of the record'
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(_at)
ORDER BY (version, _topic, _topic_id, _partition, _offset)
SETTINGS non_replicated_deduplication_window = 10000, replicated_deduplication_window = 10000,
    replicated_deduplication_window_seconds = 604800
COMMENT 'Every accepted configuration';

CREATE TABLE IF NOT EXISTS undecodable
(
    key String COMMENT 'PII: key of the record',
    value String COMMENT 'PII: value of the record, which is no record that this version can read' CODEC(ZSTD(3)),
    _topic LowCardinality(String) COMMENT 'Kafka topic of the record',
    _topic_id LowCardinality(String) COMMENT 'Kafka id of the topic',
    _partition Int32 COMMENT 'Kafka partition of the record',
    _offset Int64 COMMENT 'Kafka offset of the record',
    _at DateTime64(3, 'UTC') COMMENT 'the broker''s timestamp of the record'
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(_at)
ORDER BY (_topic, _topic_id, _partition, _offset)
SETTINGS non_replicated_deduplication_window = 10000, replicated_deduplication_window = 10000,
    replicated_deduplication_window_seconds = 604800
COMMENT 'Records of any topic that could not be decoded, so that rows and offsets still agree';
