// Package schemas holds the records that travel on Kafka and the words used in them.
//
// A record is a Go struct beside an .avsc file of the same name; package codec turns one into the other.
// Words that grow over time (kinds, statuses, outcomes) are Avro strings, not enums, so that a new word never
// breaks an old reader; the Go types below name the words that this version knows.
package schemas
