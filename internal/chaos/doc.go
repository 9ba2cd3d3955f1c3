// Command chaos runs three real processes of the built program against three Kafka brokers and a Redis, kills and
// confuses all of them by a seeded plan while orders come in, and then holds whole histories against what an
// independent fold of the input says.
//
//	go run ./internal/chaos -kills 100 -records 40000
//
// That takes about half an hour on two cores that do nothing else. CI runs a short one as a test of this package.
//
// It prints one JSON line and ends with code 1 where anything was lost, doubled or left behind. The folder of a run
// that failed is kept and named; it holds the logs, the plan and the findings.
package main
