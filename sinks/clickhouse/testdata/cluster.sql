CREATE TABLE IF NOT EXISTS shop.schema_migrations ON CLUSTER 'main' ... ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/all/shop/schema_migrations', '{shard}-{replica}');
CREATE TABLE IF NOT EXISTS shop.events_local ON CLUSTER 'main' ... ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/shop/events_local', '{replica}');
CREATE TABLE IF NOT EXISTS shop.events ON CLUSTER 'main' AS shop.events_local ENGINE = Distributed('main', 'shop', 'events_local', _partition);
CREATE TABLE IF NOT EXISTS shop.transitions_local ON CLUSTER 'main' ... ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/shop/transitions_local', '{replica}');
CREATE TABLE IF NOT EXISTS shop.transitions ON CLUSTER 'main' AS shop.transitions_local ENGINE = Distributed('main', 'shop', 'transitions_local', _partition);
CREATE TABLE IF NOT EXISTS shop.commands_local ON CLUSTER 'main' ... ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/shop/commands_local', '{replica}');
CREATE TABLE IF NOT EXISTS shop.commands ON CLUSTER 'main' AS shop.commands_local ENGINE = Distributed('main', 'shop', 'commands_local', _partition);
CREATE TABLE IF NOT EXISTS shop.deliveries_local ON CLUSTER 'main' ... ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/shop/deliveries_local', '{replica}');
CREATE TABLE IF NOT EXISTS shop.deliveries ON CLUSTER 'main' AS shop.deliveries_local ENGINE = Distributed('main', 'shop', 'deliveries_local', _partition);
CREATE TABLE IF NOT EXISTS shop.dead_letters_local ON CLUSTER 'main' ... ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/shop/dead_letters_local', '{replica}');
CREATE TABLE IF NOT EXISTS shop.dead_letters ON CLUSTER 'main' AS shop.dead_letters_local ENGINE = Distributed('main', 'shop', 'dead_letters_local', _partition);
CREATE TABLE IF NOT EXISTS shop.config_versions_local ON CLUSTER 'main' ... ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/shop/config_versions_local', '{replica}');
CREATE TABLE IF NOT EXISTS shop.config_versions ON CLUSTER 'main' AS shop.config_versions_local ENGINE = Distributed('main', 'shop', 'config_versions_local', _partition);
CREATE TABLE IF NOT EXISTS shop.undecodable_local ON CLUSTER 'main' ... ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/shop/undecodable_local', '{replica}');
CREATE TABLE IF NOT EXISTS shop.undecodable ON CLUSTER 'main' AS shop.undecodable_local ENGINE = Distributed('main', 'shop', 'undecodable_local', _partition);
CREATE TABLE IF NOT EXISTS shop.run_steps_local ON CLUSTER 'main' ... ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{shard}/shop/run_steps_local', '{replica}');
CREATE TABLE IF NOT EXISTS shop.run_steps ON CLUSTER 'main' AS shop.run_steps_local ENGINE = Distributed('main', 'shop', 'run_steps_local', _partition);
ALTER TABLE shop.commands_local ON CLUSTER 'main'
    ADD COLUMN IF NOT EXISTS rule LowCardinality(String) COMMENT 'what made an effect: mappings/NAME, or workflows/NAME#STEP' AFTER issues,
    ADD COLUMN IF NOT EXISTS run_id String COMMENT 'the run of that workflow' AFTER rule,
    ADD COLUMN IF NOT EXISTS reasons Array(String) COMMENT 'which rule added or removed which tag with this version, a line each' AFTER run_id,
    ADD COLUMN IF NOT EXISTS effect_arguments Map(LowCardinality(String), String) COMMENT 'PII: meaning given by effect_type' AFTER effect_data;
ALTER TABLE shop.commands ON CLUSTER 'main'
    ADD COLUMN IF NOT EXISTS rule LowCardinality(String) COMMENT 'what made an effect: mappings/NAME, or workflows/NAME#STEP' AFTER issues,
    ADD COLUMN IF NOT EXISTS run_id String COMMENT 'the run of that workflow' AFTER rule,
    ADD COLUMN IF NOT EXISTS reasons Array(String) COMMENT 'which rule added or removed which tag with this version, a line each' AFTER run_id,
    ADD COLUMN IF NOT EXISTS effect_arguments Map(LowCardinality(String), String) COMMENT 'PII: meaning given by effect_type' AFTER effect_data;
ALTER TABLE shop.commands_local ON CLUSTER 'main' ADD INDEX IF NOT EXISTS by_run_id run_id TYPE bloom_filter(0.001) GRANULARITY 1;
CREATE OR REPLACE VIEW shop.v_runs ON CLUSTER 'main' ...;
CREATE OR REPLACE VIEW shop.v_waits ON CLUSTER 'main' ...;
CREATE OR REPLACE VIEW shop.v_wait_outcomes ON CLUSTER 'main' ...;
CREATE OR REPLACE VIEW shop.v_workflow_runs ON CLUSTER 'main' ...;
CREATE OR REPLACE VIEW shop.v_branches ON CLUSTER 'main' ...;
CREATE OR REPLACE VIEW shop.v_held ON CLUSTER 'main' ...;
CREATE OR REPLACE VIEW shop.v_counts ON CLUSTER 'main' ...;
ALTER TABLE shop.events_local ON CLUSTER 'main'
    ADD COLUMN IF NOT EXISTS problem_cause LowCardinality(String) COMMENT 'code of the problem, as in dead_letters; empty: UNPARSEABLE' AFTER problem,
    ADD COLUMN IF NOT EXISTS headers Map(LowCardinality(String), String) COMMENT 'PII: headers of the delivery that say what its body does not' AFTER problem_cause,
    ADD COLUMN IF NOT EXISTS versioned Bool COMMENT 'sequence alone orders the events of this root' AFTER headers,
    ADD COLUMN IF NOT EXISTS deleted Bool COMMENT 'the provider removed the object' AFTER versioned;
ALTER TABLE shop.events ON CLUSTER 'main'
    ADD COLUMN IF NOT EXISTS problem_cause LowCardinality(String) COMMENT 'code of the problem, as in dead_letters; empty: UNPARSEABLE' AFTER problem,
    ADD COLUMN IF NOT EXISTS headers Map(LowCardinality(String), String) COMMENT 'PII: headers of the delivery that say what its body does not' AFTER problem_cause,
    ADD COLUMN IF NOT EXISTS versioned Bool COMMENT 'sequence alone orders the events of this root' AFTER headers,
    ADD COLUMN IF NOT EXISTS deleted Bool COMMENT 'the provider removed the object' AFTER versioned;
CREATE TABLE IF NOT EXISTS shop.erasure_keys ON CLUSTER 'main' ... ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/all/shop/erasure_keys', '{shard}-{replica}');
CREATE TABLE IF NOT EXISTS shop.erased_subjects ON CLUSTER 'main' ... ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/all/shop/erased_subjects', '{shard}-{replica}', at);
CREATE TABLE IF NOT EXISTS shop.erasures ON CLUSTER 'main' ... ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/all/shop/erasures', '{shard}-{replica}');
