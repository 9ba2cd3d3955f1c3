package parts

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// KafkaVersion is the version that the tests run on, and that docker-compose.yml names.
const KafkaVersion = "4.1.1"

// KafkaDirEnv is the folder of Kafka's jars, where they are not in the module's .cache.
const KafkaDirEnv = "TILLSTREAM_KAFKA_DIR"

// KafkaAddresses are what differs between one broker and another: host:port each, and the folder of the data.
type KafkaAddresses struct {
	Listen, Advertised                 string
	ControllerListen, ControllerQuorum string
	Dir                                string
}

// KafkaSettings are the server properties of a single KRaft node that is broker and controller.
// docker-compose.yml has the same, spelt as environment.
func KafkaSettings(a KafkaAddresses) map[string]string {
	return map[string]string{
		"node.id":                                          "1",
		"process.roles":                                    "broker,controller",
		"controller.quorum.voters":                         "1@" + a.ControllerQuorum,
		"listeners":                                        "PLAINTEXT://" + a.Listen + ",CONTROLLER://" + a.ControllerListen,
		"advertised.listeners":                             "PLAINTEXT://" + a.Advertised,
		"controller.listener.names":                        "CONTROLLER",
		"listener.security.protocol.map":                   "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"offsets.topic.replication.factor":                 "1",
		"transaction.state.log.replication.factor":         "1",
		"transaction.state.log.min.isr":                    "1",
		"share.coordinator.state.topic.replication.factor": "1",
		"group.initial.rebalance.delay.ms":                 "0",
		"auto.create.topics.enable":                        "false",
		"log.dirs":                                         a.Dir,
	}
}

// Limits of a broker's life in a test.
const (
	kafkaFormatLimit = 60 * time.Second
	kafkaStartLimit  = 90 * time.Second
	kafkaTriesMax    = 3 // a port may be taken between its choice and its use
	kafkaHeap        = "-Xmx512m"
)

// Kafka is a running broker.
type Kafka struct {
	Address string // host:port
	process *Process
	command Command
}

// StartKafka starts a broker and returns when it answers. It ends with the test.
func StartKafka(t testing.TB) *Kafka {
	t.Helper()
	java, err := exec.LookPath("java")
	if err != nil {
		Missing(t, "kafka", "there is no java in PATH; scripts/install.sh kafka brings it")
	}
	jars, err := KafkaJars()
	if err != nil {
		Missing(t, "kafka", err.Error())
	}
	var k *Kafka
	for try := 1; ; try++ {
		if k, err = startKafka(t, java, jars); err == nil {
			return k
		}
		if try == kafkaTriesMax {
			t.Fatalf("start Kafka %s: %v", KafkaVersion, err)
		}
	}
}

// KafkaJars finds the folder that holds the broker's jar, in it or in its lib folder.
func KafkaJars() (string, error) {
	dir := os.Getenv(KafkaDirEnv)
	if dir == "" {
		root, err := Root()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(root, ".cache", "kafka", KafkaVersion)
	}
	for _, d := range []string{dir, filepath.Join(dir, "lib"), filepath.Join(dir, "libs")} {
		if found, _ := filepath.Glob(filepath.Join(d, "kafka_2.13-*.jar")); len(found) > 0 {
			return d, nil
		}
	}
	return "", fmt.Errorf("there are no jars of Kafka in %s; run 'scripts/install.sh kafka', or set %s", dir, KafkaDirEnv)
}

func startKafka(t testing.TB, java, jars string) (*Kafka, error) {
	t.Helper()
	dir := t.TempDir()
	k := &Kafka{Address: fmt.Sprintf("localhost:%d", Port(t))}
	controller := fmt.Sprintf("localhost:%d", Port(t))
	file := filepath.Join(dir, "server.properties")
	settings := KafkaSettings(KafkaAddresses{
		Listen: k.Address, Advertised: k.Address, ControllerListen: controller,
		ControllerQuorum: controller, Dir: filepath.Join(dir, "data"),
	})
	if err := os.WriteFile(file, []byte(properties(settings)), 0o600); err != nil {
		return nil, err
	}
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		return nil, err
	}
	run := func(name, class string, args ...string) Command {
		return Command{Name: name, Path: java, Dir: dir, Args: append([]string{
			kafkaHeap, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
			"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", filepath.Join(jars, "*"), class,
		}, args...)}
	}
	id[0] &= 0x7f // no id begins with a dash, which would be read as an option
	format := Start(t, run("kafka format", "kafka.tools.StorageTool", "format", "-t", base64.RawURLEncoding.EncodeToString(id), "-c", file))
	code, err := format.Wait(kafkaFormatLimit)
	if err != nil {
		return nil, err
	}
	if code != 0 {
		return nil, fmt.Errorf("format the data folder: exit code %d: %s", code, format.Tail())
	}
	k.command = run("kafka", "kafka.Kafka", file)
	return k, k.start(t)
}

func properties(settings map[string]string) string {
	var lines []string
	for name, value := range settings {
		lines = append(lines, name+"="+value+"\n")
	}
	sort.Strings(lines)
	return strings.Join(lines, "")
}

func (k *Kafka) start(t testing.TB) error {
	t.Helper()
	k.process = Start(t, k.command)
	cl, err := kgo.NewClient(kgo.SeedBrokers(k.Address), kgo.RetryTimeout(time.Second))
	if err != nil {
		return err
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	var gone error
	err = eventually(kafkaStartLimit, func() error {
		if k.process.Ended() {
			gone = fmt.Errorf("the broker ended: %s", k.process.Tail())
			return nil
		}
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		brokers, err := admin.ListBrokers(ctx)
		if err == nil && len(brokers) == 0 {
			err = errors.New("no broker is registered")
		}
		return err
	})
	if gone != nil {
		err = gone
	}
	if err != nil {
		k.process.Kill()
	}
	return err
}

// Kill ends the broker at once.
func (k *Kafka) Kill() { k.process.Kill() }

// Restart starts a killed broker again, on the same port and data.
func (k *Kafka) Restart(t testing.TB) {
	t.Helper()
	if err := k.start(t); err != nil {
		t.Fatalf("restart Kafka: %v", err)
	}
}
