package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tillstream/tillstream/pipeline"
	"github.com/tillstream/tillstream/pipeline/clock"
	"github.com/tillstream/tillstream/pipeline/kafka"
	"github.com/tillstream/tillstream/schemas"
	"github.com/tillstream/tillstream/schemas/codec"
	"github.com/tillstream/tillstream/schemas/registry"
)

// logOf reads the world's Kafka with its registry's schemas.
type logOf struct {
	*kafka.Cluster
	codec *codec.Codec
}

func (w *world) log(t *testing.T) logOf {
	t.Helper()
	reg := registry.New(registry.Options{URL: w.registry, HTTP: http.DefaultClient})
	if err := reg.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	c, err := codec.New(reg)
	if err != nil {
		t.Fatal(err)
	}
	cluster, err := kafka.NewCluster(kafka.Options{Brokers: []string{w.kafka}}, clock.System(), zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return logOf{cluster, c}
}

// each hands every committed record of a topic to take, by partition and offset.
func (l logOf) each(t *testing.T, topic string, take func(r *kgo.Record, rec schemas.Record)) {
	t.Helper()
	info, err := l.Describe(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	for n := range info.Count {
		start, end, err := l.Bounds(t.Context(), topic, n)
		if err != nil {
			t.Fatal(err)
		}
		r := kafka.Range{Topic: topic, Partition: n, From: start, To: end, Patience: startLimit}
		err = l.Read(t.Context(), r, func(records []*kgo.Record, _ int64) error {
			for _, r := range records {
				rec, err := l.codec.Decode(r.Value)
				if err != nil {
					return err
				}
				take(r, rec)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// follows waits until every partition follows version, and returns since which offsets.
func (w *world) follows(t *testing.T, l logOf, version string) map[int32]int64 {
	t.Helper()
	from := map[int32]int64{}
	w.await(t, "every partition follows version "+version, func() error {
		info, err := l.Describe(t.Context(), schemas.TopicAutomationInbox)
		if err != nil {
			return err
		}
		for n := range info.Count {
			f, err := pipeline.ReadFollowed(t.Context(), l, schemas.TopicAutomationLog, n)
			if err != nil {
				return err
			}
			if f.Config != version {
				return fmt.Errorf("partition %d follows %q since %d", n, f.Config, f.From)
			}
			from[n] = f.From
		}
		return nil
	})
	return from
}

var (
	followLine = regexp.MustCompile(`(?m)^partition (\d+) follows it since offset (\d+) \(`)
	forceLine  = regexp.MustCompile(`(?m)^version ([0-9a-f]{12}) is in force`)
)

// apply puts the folder in force and returns its version, and since which offset each partition follows it.
func (w *world) apply(t *testing.T, args ...string) (version string, from map[int32]int64) {
	t.Helper()
	said := w.inFolder(t, append([]string{"apply"}, args...)...)
	m := forceLine.FindStringSubmatch(said)
	if m == nil {
		t.Fatalf("apply says %q", said)
	}
	from = map[int32]int64{}
	for _, line := range followLine.FindAllStringSubmatch(said, -1) {
		n, _ := strconv.Atoi(line[1])
		from[int32(n)], _ = strconv.ParseInt(line[2], 10, 64)
	}
	return m[1], from
}

// tagOrders has the mapping of orders put one more tag on contacts.
func (w *world) tagOrders(t *testing.T, tag string) {
	t.Helper()
	file := filepath.Join(w.config, "mappings/orders.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	base, _, _ := strings.Cut(string(text), "\ntags:")
	if err := os.WriteFile(file, []byte(strings.TrimRight(base, "\n")+"\ntags:\n  add: ["+tag+"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// cut is one version and since when each partition follows it.
type cut struct {
	version, tag string
	from         map[int32]int64
}

// checkCuts holds every command against the offset of what caused it: it names the version that its partition followed
// there, and a tag is on no contact before the version that brought it. It returns how many commands each version has.
func (w *world) checkCuts(t *testing.T, l logOf, cuts []cut) map[string]int {
	t.Helper()
	type place struct {
		partition int32
		offset    int64
	}
	places := map[string][]place{} // by contact and event
	l.each(t, schemas.TopicAutomationInbox, func(r *kgo.Record, rec schemas.Record) {
		if tr, ok := rec.(*schemas.Transition); ok {
			k := string(r.Key) + " " + tr.Event.EventID
			places[k] = append(places[k], place{r.Partition, r.Offset})
		}
	})
	counts := map[string]int{}
	l.each(t, schemas.TopicCommands, func(_ *kgo.Record, rec schemas.Record) {
		c, ok := rec.(*schemas.Command)
		if !ok {
			return
		}
		counts[c.ConfigVersion]++
		at := places[c.ContactKey+" "+c.EventID]
		if len(at) == 0 {
			t.Errorf("command %s of event %s has no transition that caused it", c.CommandID, c.EventID)
			return
		}
		here := -1
		for _, p := range at { // a repetition that changes nothing causes no command; which one did is not told
			last := 0
			for i, x := range cuts[1:] {
				if p.offset > x.from[p.partition] {
					last = i + 1
				}
			}
			if cuts[last].version == c.ConfigVersion {
				here = max(here, last)
			}
		}
		if here < 0 {
			t.Errorf("command %s was caused at %v, and not under version %s: %+v", c.CommandID, at, c.ConfigVersion, cuts)
			return
		}
		for _, x := range cuts[here+1:] {
			if x.tag != "" && slices.Contains(c.Contact.Tags, x.tag) {
				t.Errorf("command %s under %s has the tag %s of a later version", c.CommandID, c.ConfigVersion, x.tag)
			}
		}
	})
	return counts
}

// TestAMappingThatIsChangedWhileRunningCountsForLaterEventsOnly changes a mapping under load: twice in quick succession,
// once with a folder that is not good, and back again.
func TestAMappingThatIsChangedWhileRunningCountsForLaterEventsOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withoutWorkflows(t)
	events := tell(21, 120)
	w.dev(t)
	w.awaitReady(t)
	l := w.log(t)
	part := func(n int) {
		if err := w.emit(t.Context(), events[len(events)*n/4:len(events)*(n+1)/4]); err != nil {
			t.Fatal(err)
		}
	}
	part(0)
	w.awaitAccepted(t)
	first := w.inForce(t)

	part(1) // on its way while the mapping changes
	w.tagOrders(t, "second-look")
	v2, from2 := w.apply(t)
	w.tagOrders(t, "third-look")
	v3, from3 := w.apply(t)
	w.awaitAccepted(t)
	if len(from2) == 0 || len(from2) != len(from3) || v2 == v3 {
		t.Fatalf("applied %s at %v, then %s at %v", v2, from2, v3, from3)
	}
	part(2)
	w.awaitAccepted(t)

	bad := filepath.Join(w.config, "mappings/bad.yaml")
	if err := os.WriteFile(bad, []byte("destination: crm\nresource: no-such-thing\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.refused(t, "mappings/bad.yaml:2: resource:")
	if err := os.Remove(bad); err != nil {
		t.Fatal(err)
	}
	if got := w.inForce(t); got != v3 {
		t.Errorf("after a folder that was refused %s is in force, want %s", got, v3)
	}

	back, from4 := w.apply(t, "--version", first)
	if back != first {
		t.Errorf("went back to %s, want %s", back, first)
	}
	part(3)
	w.awaitAccepted(t)
	w.awaitAgreement(t, events)
	counts := w.checkCuts(t, l, []cut{{first, "", nil}, {v2, "second-look", from2}, {v3, "third-look", from3}, {first, "", from4}})
	t.Logf("commands by version: %v", counts)
	if counts[first] == 0 || counts[v3] == 0 {
		t.Errorf("commands by version: %v, want some under %s and %s", counts, first, v3)
	}
}

// inForce is the version that 'tillstream config versions' marks.
func (w *world) inForce(t *testing.T) string {
	t.Helper()
	for line := range strings.Lines(w.inFolder(t, "config", "versions")) {
		if version, _, _ := strings.Cut(line, " "); strings.Contains(line, "in force\n") && version != "VERSION" {
			return version
		}
	}
	t.Fatal("no version is in force")
	return ""
}

// refused wants apply to refuse the folder with a place, by the exit code for that.
func (w *world) refused(t *testing.T, place string) {
	t.Helper()
	c := exec.CommandContext(t.Context(), binary, "apply", "--config", w.config)
	c.Env, c.Dir = append(os.Environ(), w.variables()...), w.dir
	out, err := c.CombinedOutput()
	var exited *exec.ExitError
	if !errors.As(err, &exited) || exited.ExitCode() != 3 || !strings.Contains(string(out), place) {
		t.Errorf("a folder that is not good: %v, %s; want code 3 and %q", err, out, place)
	}
}

// TestKilledInTheMidstOfAnActivationEveryPartitionFollowsOneVersionInTheEnd kills everything while 'tillstream apply' runs.
func TestKilledInTheMidstOfAnActivationEveryPartitionFollowsOneVersionInTheEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.withoutWorkflows(t)
	events := tell(22, 60)
	w.dev(t)
	w.awaitReady(t)
	if err := w.emit(t.Context(), events[:len(events)/2]); err != nil {
		t.Fatal(err)
	}
	w.awaitAccepted(t)
	first := w.inForce(t)
	w.tagOrders(t, "second-look")
	if err := w.emit(t.Context(), events[len(events)/2:]); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := exec.CommandContext(ctx, binary, "apply", "--config", w.config)
	c.Env, c.Dir = append(os.Environ(), w.variables()...), w.dir
	said := new(strings.Builder)
	c.Stdout, c.Stderr = said, said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	l := w.log(t)
	w.await(t, "the version is published", func() error {
		_, end, err := l.Bounds(t.Context(), schemas.TopicConfig, 0)
		if err == nil && end < 2 {
			err = fmt.Errorf("%d records", end)
		}
		return err
	})
	w.till.Kill()
	_ = c.Process.Kill()
	_ = c.Wait()
	t.Logf("killed; apply had said %q", said)

	w.dev(t)
	w.awaitReady(t)
	w.awaitAccepted(t)
	l = w.log(t)
	second := w.inForce(t)
	if second == first {
		t.Fatalf("after the restart %s is in force", second)
	}
	from := w.follows(t, l, second)
	w.awaitAgreement(t, events)
	t.Logf("commands by version: %v", w.checkCuts(t, l, []cut{{first, "", nil}, {second, "second-look", from}}))
}

// withoutWorkflows leaves the mappings alone: runs go on by deadlines and answers, which no event's offset dates.
func (w *world) withoutWorkflows(t *testing.T) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(w.config, "workflows")); err != nil {
		t.Fatal(err)
	}
	w.promises = nil
}
