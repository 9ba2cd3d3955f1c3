package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/schemas"
)

// Promises of the topics that recovery counts on.
const (
	// InputRetention is the least time that an input is kept: the longest outage that loses nothing.
	InputRetention = 14 * 24 * time.Hour
	// TombstoneRetention is how long a removed state stays visible in a changelog. A copy of the state that is
	// older than half of it is rebuilt, not caught up.
	TombstoneRetention = 7 * 24 * time.Hour
	// RecordBytesMax is the largest batch that data topics take.
	RecordBytesMax = 8 << 20

	deadLetterRetention = 90 * 24 * time.Hour
	auditRetention      = 2 * 365 * 24 * time.Hour
	partitionsDefault   = 8

	createdWait  = 10 * time.Second
	createdPause = 100 * time.Millisecond
)

// TopicSpec is a topic and the settings that the product relies on.
type TopicSpec struct {
	Name       string
	Partitions int32
	Compacted  bool
	Retention  time.Duration // least retention of a topic that is not compacted
	// Together names the topics that are partitioned alike: partition n of all of them has one owner.
	Together string
}

// Topics lists every topic of the product.
func Topics(o Options) []TopicSpec {
	n := o.Partitions
	if n == 0 {
		n = partitionsDefault
	}
	data := func(name, together string) TopicSpec {
		return TopicSpec{Name: name, Partitions: n, Retention: InputRetention, Together: together}
	}
	compacted := func(name, together string, partitions int32) TopicSpec {
		return TopicSpec{Name: name, Partitions: partitions, Compacted: true, Together: together}
	}
	letters := data(schemas.TopicDeadLetters, "")
	letters.Retention = deadLetterRetention
	requests := data(schemas.TopicJobRequests, "")
	requests.Partitions = 1
	audit := data(schemas.TopicAudit, "")
	audit.Partitions, audit.Retention = 1, auditRetention
	return []TopicSpec{
		data(schemas.TopicPayPalEvents, "orders"), data(schemas.TopicStoreOrders, "orders"), data(schemas.TopicOrdersInbox, "orders"),
		compacted(schemas.TopicOrdersChangelog, "orders", n),
		data(schemas.TopicTransitions, ""),
		data(schemas.TopicAutomationInbox, "automation"),
		compacted(schemas.TopicAutomationLog, "automation", n),
		data(schemas.TopicRuns, ""), data(schemas.TopicCommands, ""), data(schemas.TopicDeliveries, ""), letters,
		compacted(schemas.TopicConfig, "", 1), compacted(schemas.TopicSourceProgress, "", n),
		compacted(schemas.TopicReceiverBeats, "", 1),
		compacted(schemas.TopicPauses, "", 1), requests, compacted(schemas.TopicJobs, "", 1), compacted(schemas.TopicJobItems, "", n),
		compacted(schemas.TopicProgress, "", n),
		compacted(schemas.TopicAccess, "", 1), audit,
	}
}

// AccessTopics are those that say who may do what and who did what: a command makes the first user before any process ran.
func AccessTopics(o Options) []TopicSpec {
	return slices.DeleteFunc(Topics(o), func(s TopicSpec) bool { return s.Name != schemas.TopicAccess && s.Name != schemas.TopicAudit })
}

// config is what a new topic is created with.
func (s TopicSpec) config(o Options) map[string]*string {
	c := map[string]string{
		"message.timestamp.type": "LogAppendTime",
		"max.message.bytes":      strconv.Itoa(RecordBytesMax),
		"cleanup.policy":         "delete",
	}
	if s.Compacted {
		c["cleanup.policy"] = "compact"
		c["delete.retention.ms"] = millis(TombstoneRetention)
	} else {
		c["retention.ms"] = millis(s.Retention)
	}
	if o.ReplicationFactor >= 3 {
		c["min.insync.replicas"] = "2"
	}
	if o.Strict {
		c["unclean.leader.election.enable"] = "false"
	}
	out := make(map[string]*string, len(c))
	for k, v := range c {
		out[k] = &v
	}
	return out
}

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// EnsureTopics creates the topics that are missing and checks those that are there. A topic whose siblings exist
// already gets their number of partitions. The error lists everything that is wrong and what to do about it.
func EnsureTopics(ctx context.Context, o Options, specs []TopicSpec) error {
	cl, err := o.Client()
	if err != nil {
		return err
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	found, err := listTopics(ctx, cl, specs)
	if err != nil {
		return err
	}
	if err := createMissing(ctx, admin, o, specs, found); err != nil {
		return err
	}
	if found, err = settled(ctx, cl, specs); err != nil {
		return err
	}
	problems := []error{}
	for _, s := range specs {
		d, ok := found[s.Name]
		if !ok {
			problems = append(problems, fmt.Errorf("topic %s is not there although it was created %v ago: check the brokers, then try again", s.Name, createdWait))
			continue
		}
		if o.Strict && d.Replicas < 3 {
			problems = append(problems, fmt.Errorf("topic %s has %d replicas, the strict profile needs 3: reassign its partitions, or set kafka.strict: false", s.Name, d.Replicas))
		}
	}
	problems = append(problems, checkPartitions(specs, found)...)
	problems = append(problems, checkConfigs(ctx, admin, o, specs)...)
	return errors.Join(problems...)
}

// listTopics leaves out what does not exist. It asks the brokers, since kadm may answer from its client's cache.
func listTopics(ctx context.Context, cl *kgo.Client, specs []TopicSpec) (map[string]TopicInfo, error) {
	found := map[string]TopicInfo{}
	for _, s := range specs {
		info, err := DescribeTopic(ctx, cl, s.Name)
		switch {
		case errors.Is(err, kerr.UnknownTopicOrPartition):
		case err != nil:
			return nil, err
		default:
			found[s.Name] = info
		}
	}
	return found, nil
}

// settled lists the topics once all are known: the controller answers a creation before the brokers have heard of it.
func settled(ctx context.Context, cl *kgo.Client, specs []TopicSpec) (map[string]TopicInfo, error) {
	wait, cancel := context.WithTimeout(ctx, createdWait)
	defer cancel()
	for {
		found, err := listTopics(ctx, cl, specs)
		if err != nil || complete(found, specs) || clock.System().Sleep(wait, createdPause) != nil {
			return found, err
		}
	}
}

// complete reports whether every topic is there.
func complete(found map[string]TopicInfo, specs []TopicSpec) bool {
	for _, s := range specs {
		if info, ok := found[s.Name]; !ok || info.Count == 0 {
			return false
		}
	}
	return true
}

func createMissing(ctx context.Context, admin *kadm.Client, o Options, specs []TopicSpec, found map[string]TopicInfo) error {
	rf := o.ReplicationFactor
	if rf == 0 {
		rf = -1 // the broker's own default, KIP-464
	}
	var problems []error
	for _, s := range specs {
		if _, ok := found[s.Name]; ok {
			continue
		}
		n := s.Partitions
		for _, sibling := range specs {
			if d, ok := found[sibling.Name]; ok && s.Together != "" && sibling.Together == s.Together {
				n = d.Count
			}
		}
		_, err := admin.CreateTopic(ctx, n, rf, s.config(o), s.Name)
		if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			problems = append(problems, fmt.Errorf("create topic %s with %d partitions: %w", s.Name, n, err))
		}
	}
	return errors.Join(problems...)
}

func checkPartitions(specs []TopicSpec, found map[string]TopicInfo) (problems []error) {
	first := map[string]TopicSpec{}
	for _, s := range specs {
		if s.Together == "" {
			continue
		}
		sibling, ok := first[s.Together]
		if !ok {
			first[s.Together] = s
			continue
		}
		if a, b := found[sibling.Name].Count, found[s.Name].Count; a != b {
			problems = append(problems, fmt.Errorf("topics %s and %s have %d and %d partitions, but one key must meet in one number: "+
				"recreate the emptier one; partitions are never added to a topic in use", sibling.Name, s.Name, a, b))
		}
	}
	return problems
}

func checkConfigs(ctx context.Context, admin *kadm.Client, o Options, specs []TopicSpec) (problems []error) {
	names := make([]string, 0, len(specs))
	for _, s := range specs {
		names = append(names, s.Name)
	}
	configs, err := admin.DescribeTopicConfigs(ctx, names...)
	if err != nil {
		return []error{fmt.Errorf("read the settings of topics: %w", err)}
	}
	for _, s := range specs {
		rc, err := configs.On(s.Name, nil)
		if err == nil {
			err = rc.Err
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("read the settings of topic %s: %w", s.Name, err))
			continue
		}
		got := map[string]string{}
		for _, c := range rc.Configs {
			got[c.Key] = c.MaybeValue()
		}
		problems = append(problems, s.check(o, got)...)
	}
	return problems
}

// check compares the settings of an existing topic with what the product needs.
func (s TopicSpec) check(o Options, got map[string]string) (problems []error) {
	bad := func(setting, want string) {
		problems = append(problems, fmt.Errorf("topic %s has %s=%s: set it to %s", s.Name, setting, got[setting], want))
	}
	if got["message.timestamp.type"] != "LogAppendTime" {
		bad("message.timestamp.type", "LogAppendTime")
	}
	// The client gathers several records into one batch of up to RecordBytesMax, and a broker refuses it as a whole.
	if n, err := strconv.Atoi(got["max.message.bytes"]); err == nil && n < RecordBytesMax {
		bad("max.message.bytes", strconv.Itoa(RecordBytesMax)+" or more")
	}
	if s.Compacted {
		if got["cleanup.policy"] != "compact" {
			bad("cleanup.policy", "compact")
		}
		if !atLeast(got["delete.retention.ms"], TombstoneRetention) {
			bad("delete.retention.ms", millis(TombstoneRetention)+" or more")
		}
	} else {
		if slices.Contains([]string{"compact", "compact,delete", "delete,compact"}, got["cleanup.policy"]) {
			bad("cleanup.policy", "delete")
		}
		if !atLeast(got["retention.ms"], s.Retention) {
			bad("retention.ms", millis(s.Retention)+" or more")
		}
	}
	if o.Strict {
		if n, _ := strconv.Atoi(got["min.insync.replicas"]); n < 2 {
			bad("min.insync.replicas", "2")
		}
		if got["unclean.leader.election.enable"] == "true" {
			bad("unclean.leader.election.enable", "false")
		}
	}
	return problems
}

// atLeast reads a retention in milliseconds; -1 is for ever, and absent is not judged.
func atLeast(value string, want time.Duration) bool {
	n, err := strconv.ParseInt(value, 10, 64)
	return err != nil || n == -1 || n >= want.Milliseconds()
}
