// Package kafka holds what every client of the data path shares: how to reach the brokers, the topics and their
// settings, and what an error of theirs means.
package kafka

import (
	"crypto/tls"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/tillstream/tillstream/schemas"
)

// Options say how to reach Kafka. They are part of tillstream.yaml.
type Options struct {
	Brokers []string `yaml:"brokers"`
	// ClientID shows in the brokers' logs and quotas; default "tillstream".
	ClientID string `yaml:"client_id"`
	TLS      bool   `yaml:"tls"`
	SASL     SASL   `yaml:"sasl"`
	// Partitions of the data topics, fixed for ever at their creation; default 8.
	Partitions int32 `yaml:"partitions"`
	// ReplicationFactor of topics that we create; default: the broker's own.
	ReplicationFactor int16 `yaml:"replication_factor"`
	// Strict refuses to start where an acknowledged record could be lost: min.insync.replicas below 2, fewer than 3
	// replicas, or unclean leader election.
	Strict bool `yaml:"strict"`
	// Extra options for embedded brokers and tests (dialers). Not part of the file.
	Extra []kgo.Opt `yaml:"-"`
}

// SASL names a mechanism and its user.
type SASL struct {
	Mechanism string         `yaml:"mechanism"` // PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512; empty: none
	User      string         `yaml:"user"`
	Password  schemas.Secret `yaml:"password"`
}

// Client opens a client with these options and the role's own.
func (o Options) Client(role ...kgo.Opt) (*kgo.Client, error) {
	opts, err := o.Opts(role...)
	if err != nil {
		return nil, err
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("kafka client for %v: %w", o.Brokers, err)
	}
	return cl, nil
}

// Opts are the shared options followed by the role's, for constructors other than kgo.NewClient.
func (o Options) Opts(role ...kgo.Opt) ([]kgo.Opt, error) {
	id := o.ClientID
	if id == "" {
		id = "tillstream"
	}
	opts := []kgo.Opt{
		kgo.SeedBrokers(o.Brokers...), kgo.ClientID(id),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		// A topic that is missing is an operator's finding, not something to create in passing with wrong settings.
		kgo.UnknownTopicRetries(3),
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)), // murmur2 of the key, as the Java clients do
		kgo.RetryTimeout(30 * time.Second),
	}
	if o.TLS {
		opts = append(opts, kgo.DialTLSConfig(&tls.Config{MinVersion: tls.VersionTLS12}))
	}
	switch o.SASL.Mechanism {
	case "":
	case "PLAIN":
		opts = append(opts, kgo.SASL(plain.Auth{User: o.SASL.User, Pass: o.SASL.Password.Reveal()}.AsMechanism()))
	case "SCRAM-SHA-256", "SCRAM-SHA-512":
		auth := scram.Auth{User: o.SASL.User, Pass: o.SASL.Password.Reveal()}
		var m sasl.Mechanism = auth.AsSha256Mechanism()
		if o.SASL.Mechanism == "SCRAM-SHA-512" {
			m = auth.AsSha512Mechanism()
		}
		opts = append(opts, kgo.SASL(m))
	default:
		return nil, fmt.Errorf("kafka sasl mechanism %q: use PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512", o.SASL.Mechanism)
	}
	return append(append(opts, o.Extra...), role...), nil
}
