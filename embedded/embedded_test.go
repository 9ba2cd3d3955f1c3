package embedded_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/tillstream/tillstream/embedded"
	"github.com/tillstream/tillstream/embedded/chdb"
)

const (
	envChildDir = "EMBEDDED_TEST_CHILD_DIR"
	topic       = "survivors"
	schemaOne   = `{"type":"record","name":"One","fields":[{"name":"a","type":"long"}]}`
	schemaTwo   = `{"type":"record","name":"Two","fields":[{"name":"b","type":"string"}]}`
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(envChildDir); dir != "" {
		fmt.Fprintln(os.Stderr, produceUntilKilled(dir))
		os.Exit(1)
	}
	if dir := os.Getenv(envTransactions); dir != "" {
		fmt.Fprintln(os.Stderr, transactUntilKilled(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// needChdb skips where the library is missing, unless the run requires it.
func needChdb(t *testing.T) {
	t.Helper()
	_, err := chdb.Find()
	if err == nil && chdb.Supported() {
		return
	}
	if strings.Contains(os.Getenv("TILLSTREAM_REQUIRE"), "chdb") {
		t.Fatalf("TILLSTREAM_REQUIRE lists chdb: %v", err)
	}
	t.Skip(err)
}

func start(t *testing.T, o embedded.Options) *embedded.Services {
	t.Helper()
	o.Log = zerolog.New(zerolog.NewTestWriter(t))
	services, err := embedded.Start(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := services.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return services
}

func registryClient(t *testing.T, url string) *sr.Client {
	t.Helper()
	client, err := sr.NewClient(sr.URLs(url))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func register(ctx context.Context, client *sr.Client, subject, schema string) (int, error) {
	ss, err := client.CreateSchema(ctx, subject, sr.Schema{Schema: schema, Type: sr.TypeAvro})
	return ss.ID, err
}

// produceUntilKilled is the child process: it prints what was acknowledged.
func produceUntilKilled(dir string) error {
	ctx := context.Background()
	services, err := embedded.Start(ctx, embedded.Options{Dir: dir, Without: []string{embedded.ClickHouse}, Log: zerolog.Nop()})
	if err != nil {
		return err
	}
	registry, err := sr.NewClient(sr.URLs(services.RegistryURL))
	if err != nil {
		return err
	}
	for i, schema := range []string{schemaOne, schemaTwo} {
		id, err := register(ctx, registry, "subject-"+strconv.Itoa(i), schema)
		if err != nil {
			return err
		}
		fmt.Println("schema", i, id)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(services.Brokers...), kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerLinger(0))
	if err != nil {
		return err
	}
	if _, err := kadm.NewClient(client).CreateTopic(ctx, 3, 1, nil, topic); err != nil {
		return err
	}
	for i := 0; ; i++ {
		if err := client.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte(strconv.Itoa(i))}).FirstErr(); err != nil {
			return err
		}
		fmt.Println("acked", i)
	}
}

func TestWhatWasAcknowledgedSurvivesAKill(t *testing.T) {
	dir := t.TempDir()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), envChildDir+"="+dir)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	const enough = 300
	acked, ids := -1, map[string]string{}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		switch fields[0] {
		case "schema":
			ids[fields[1]] = fields[2]
		case "acked":
			if acked, err = strconv.Atoi(fields[1]); err != nil {
				t.Fatal(err)
			}
		}
		if acked == enough {
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = child.Wait() // killed
	if acked < enough {
		t.Fatalf("the child acknowledged %d records", acked)
	}
	if _, err := embedded.Discover(dir); !errors.Is(err, embedded.ErrNotRunning) {
		t.Errorf("got %v for a killed process, want %v", err, embedded.ErrNotRunning)
	}

	services := start(t, embedded.Options{Dir: dir, Without: []string{embedded.ClickHouse, embedded.Redis}})
	checkSurvivors(t, services.Brokers, acked)
	registry := registryClient(t, services.RegistryURL)
	for i, schema := range []string{schemaOne, schemaTwo} {
		id, err := strconv.Atoi(ids[strconv.Itoa(i)])
		if err != nil {
			t.Fatalf("the child registered no schema %d", i)
		}
		got, err := registry.SchemaByID(context.Background(), id)
		if err != nil || got.Schema != schema {
			t.Errorf("schema %d came back as %q, %v", id, got.Schema, err)
		}
	}
}

func checkSurvivors(t *testing.T, brokers []string, last int) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	seen := map[string]int{}
	for missing := last + 1; missing > 0; {
		fetches := client.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			t.Fatalf("%d acknowledged records of %d are lost", missing, last+1)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			n, err := strconv.Atoi(string(r.Value))
			if seen[string(r.Value)]++; err == nil && n <= last && seen[string(r.Value)] == 1 {
				missing--
			}
		})
	}
	for value, times := range seen {
		if times != 1 {
			t.Errorf("record %s is there %d times", value, times)
		}
	}
}

func TestSchemaIDsStayOverRestarts(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	without := []string{embedded.ClickHouse, embedded.Redis, embedded.Kafka}
	open := func() (*embedded.Services, *sr.Client) {
		services := start(t, embedded.Options{Dir: dir, Without: without})
		return services, registryClient(t, services.RegistryURL)
	}
	services, client := open()
	want := map[string]int{}
	put := func(subject, schema string) {
		t.Helper()
		id, err := register(ctx, client, subject, schema)
		if err != nil {
			t.Fatal(err)
		}
		if known, was := want[subject+schema]; was && known != id {
			t.Errorf("%s got id %d after %d", subject, id, known)
		}
		want[subject+schema] = id
	}
	put("gone", schemaTwo)
	put("a", schemaOne)
	put("b", schemaOne) // the same schema under two subjects has one id
	if _, err := client.DeleteSubject(ctx, "gone", sr.SoftDelete); err != nil {
		t.Fatal(err)
	}
	if result := client.SetCompatibility(ctx, sr.SetCompatibility{Level: sr.CompatBackwardTransitive}, "a"); result[0].Err != nil {
		t.Fatal(result[0].Err)
	}
	if err := services.Close(); err != nil {
		t.Fatal(err)
	}

	journal := filepath.Join(dir, "registry.jsonl")
	whole, err := os.ReadFile(journal)
	if err != nil {
		t.Fatal(err)
	}
	appendTo(t, journal, `{"method":"POST","path":"/subjects/torn/ver`)
	services, client = open()
	put("a", schemaOne)
	put("b", schemaOne)
	put("c", `{"type":"record","name":"Three","fields":[]}`)
	if level := client.Compatibility(ctx, "a"); level[0].Err != nil || level[0].Level != sr.CompatBackwardTransitive {
		t.Errorf("got compatibility %+v", level[0])
	}
	if subjects, err := client.Subjects(ctx); err != nil || cmp.Diff([]string{"a", "b", "c"}, subjects) != "" {
		t.Errorf("got subjects %v, %v", subjects, err)
	}
	if want["c"+`{"type":"record","name":"Three","fields":[]}`] <= want["a"+schemaOne] {
		t.Errorf("an id was given twice: %v", want)
	}
	if err := services.Close(); err != nil {
		t.Fatal(err)
	}
	grown, err := os.ReadFile(journal)
	if err != nil {
		t.Fatal(err)
	}
	if got, before := strings.Count(string(grown), "\n"), strings.Count(string(whole), "\n"); got != before+1 || !strings.HasPrefix(string(grown), string(whole)) {
		t.Errorf("the journal went from %d to %d lines, want one more and no torn line", before, got)
	}
}

func TestADamagedRegistryJournalIsRefused(t *testing.T) {
	dir := t.TempDir()
	appendTo(t, filepath.Join(dir, "registry.jsonl"), "not json\n")
	_, err := embedded.Start(context.Background(), embedded.Options{Dir: dir, Without: []string{embedded.ClickHouse, embedded.Kafka, embedded.Redis}})
	if err == nil || !strings.Contains(err.Error(), "registry.jsonl: line 1") {
		t.Errorf("got %v", err)
	}
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := io.WriteString(file, text); err != nil {
		t.Fatal(err)
	}
}

func TestEverythingRunsAndTablesStay(t *testing.T) {
	needChdb(t)
	ctx := context.Background()
	dir := t.TempDir()
	services := start(t, embedded.Options{Dir: dir})

	found, err := embedded.Discover(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := embedded.Addresses{PID: os.Getpid(), Kafka: services.Brokers, Registry: services.RegistryURL, Redis: services.RedisAddr, ClickHouse: services.ClickHouseURL, Database: embedded.Database}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Errorf("discovered addresses differ (-want +got):\n%s", diff)
	}

	cache := redis.NewClient(&redis.Options{Addr: services.RedisAddr})
	defer cache.Close()
	if err := cache.Set(ctx, "k", "v", time.Hour).Err(); err != nil {
		t.Error(err)
	}
	database, err := clickhouse.Open(services.ClickHouse.Options(""))
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{"CREATE TABLE kept (a UInt8) ENGINE = MergeTree ORDER BY a", "INSERT INTO kept VALUES (1), (2)"} {
		if err := database.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	if err := database.Close(); err != nil {
		t.Error(err)
	}
	if got := httpQuery(t, services.ClickHouseURL, "SELECT count() FROM tillstream.kept"); got != "2\n" {
		t.Errorf("got %q over the socket", got)
	}
	if err := services.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := embedded.Discover(dir); !errors.Is(err, embedded.ErrNotRunning) {
		t.Errorf("got %v after Close", err)
	}

	services = start(t, embedded.Options{Dir: dir, Without: []string{embedded.Kafka, embedded.Registry}})
	if got := httpQuery(t, services.ClickHouseURL, "SELECT sum(a) FROM kept"); got != "3\n" {
		t.Errorf("got %q after a restart", got)
	}
	again := redis.NewClient(&redis.Options{Addr: services.RedisAddr})
	defer again.Close()
	if err := again.Get(ctx, "k").Err(); !errors.Is(err, redis.Nil) {
		t.Errorf("got %v, want an empty cache after a restart", err)
	}
}

func httpQuery(t *testing.T, url, sql string) string {
	t.Helper()
	response, err := http.Post(url, "text/plain", strings.NewReader(sql))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestADirectoryHasOneProcess(t *testing.T) {
	dir := t.TempDir()
	without := []string{embedded.ClickHouse, embedded.Kafka, embedded.Registry}
	start(t, embedded.Options{Dir: dir, Without: without})
	_, err := embedded.Start(context.Background(), embedded.Options{Dir: dir, Without: without})
	var locked *embedded.LockedError
	if !errors.As(err, &locked) || locked.PID != os.Getpid() || !strings.Contains(err.Error(), "process "+strconv.Itoa(os.Getpid())) {
		t.Errorf("got %v", err)
	}
	if _, err := embedded.Discover(dir); err != nil {
		t.Errorf("the refused start withdrew the addresses: %v", err)
	}
}

func TestAPortInUseIsNamed(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	all := []string{embedded.ClickHouse, embedded.Kafka, embedded.Registry, embedded.Redis}
	for i, part := range all {
		o := embedded.Options{Dir: t.TempDir()}
		*[]*int{&o.ClickHousePort, &o.KafkaPort, &o.RegistryPort, &o.RedisPort}[i] = port
		for _, other := range all {
			if other != part {
				o.Without = append(o.Without, other)
			}
		}
		_, err := embedded.Start(context.Background(), o)
		var inUse *embedded.PortError
		if !errors.As(err, &inUse) || inUse.Part != part || inUse.Port != port || !strings.Contains(err.Error(), "--"+part+"-port") {
			t.Errorf("%s: got %v", part, err)
		}
		// Nothing is left running: the directory can be used at once.
		o.ClickHousePort, o.KafkaPort, o.RegistryPort, o.RedisPort = 0, 0, 0, 0
		if part != embedded.ClickHouse {
			if err := start(t, o).Close(); err != nil {
				t.Errorf("%s: %v", part, err)
			}
		}
	}
}

func TestAMissingLibraryNamesItsInstaller(t *testing.T) {
	if !chdb.Supported() {
		t.Skip("the library cannot be loaded on this platform")
	}
	child := exec.Command(os.Args[0], "-test.run=^TestMissingLibraryInChild$", "-test.v")
	child.Env = append(os.Environ(), chdb.EnvLibrary+"=/nonexistent/libchdb.so", "EMBEDDED_TEST_MISSING=1")
	if out, err := child.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestMissingLibraryInChild") {
		t.Errorf("%v:\n%s", err, out)
	}
}

// TestMissingLibraryInChild needs a process that has not loaded the library.
func TestMissingLibraryInChild(t *testing.T) {
	if os.Getenv("EMBEDDED_TEST_MISSING") == "" {
		t.Skip("runs in a process of its own, see TestAMissingLibraryNamesItsInstaller")
	}
	dir := t.TempDir()
	_, err := embedded.Start(context.Background(), embedded.Options{Dir: dir})
	var missing *embedded.MissingError
	if !errors.As(err, &missing) || !strings.Contains(err.Error(), "make install-chdb") {
		t.Fatalf("got %v", err)
	}
	services := start(t, embedded.Options{Dir: dir, Without: []string{embedded.ClickHouse}})
	if services.ClickHouse != nil || services.ClickHouseURL != "" || len(services.Brokers) != 1 {
		t.Errorf("got %+v", services)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for _, o := range []embedded.Options{{}, {Dir: t.TempDir(), Without: []string{"mysql"}}, {Dir: t.TempDir(), KafkaPort: 70000}} {
		if _, err := embedded.Start(context.Background(), o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := embedded.Start(ctx, embedded.Options{Dir: t.TempDir(), Without: []string{embedded.ClickHouse}}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
