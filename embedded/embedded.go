// Package embedded runs Kafka, the schema registry, Redis and ClickHouse in this
// process over one data directory, for development and demonstrations. Kafka's
// records, the registry's ids and ClickHouse's tables outlive the process, also
// one that was killed; Redis starts empty, as the cache that it is.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/tillstream/tillstream/embedded/chdb"
	"github.com/tillstream/tillstream/embedded/chserver"
	"github.com/tillstream/tillstream/embedded/linger"
)

// The parts by the names that Options.Without takes.
const (
	Kafka      = "kafka"
	Registry   = "registry"
	Redis      = "redis"
	ClickHouse = "clickhouse"
)

const (
	// Database is ClickHouse's, made at the first start.
	Database = "tillstream"
	// DefaultPartitions are those of a topic that is created without a number.
	DefaultPartitions = 8

	maxHeaderWait   = 10 * time.Second
	maxShutdownWait = 5 * time.Second
	loopback        = "127.0.0.1"
)

// Options say what Start starts.
type Options struct {
	// Dir keeps all data; it is created when missing.
	Dir string
	// The ports on the loopback address; 0 takes a free one.
	KafkaPort, RegistryPort, RedisPort, ClickHousePort int
	// Without names parts that are not started.
	Without []string
	// ClickHouseConnections is how many statements run at once; 0 means
	// chserver.DefaultConnections.
	ClickHouseConnections int
	// FreeBytesMin is the free space on Dir's disk below which Kafka takes
	// nothing new; 0 means DefaultFreeBytesMin.
	FreeBytesMin int64
	Log          zerolog.Logger
}

func (o Options) validate() error {
	if o.Dir == "" {
		return errors.New("the embedded parts need a data directory")
	}
	for _, name := range o.Without {
		if !slices.Contains([]string{Kafka, Registry, Redis, ClickHouse}, name) {
			return fmt.Errorf("there is no embedded part %q: kafka, registry, redis and clickhouse are", name)
		}
	}
	for name, port := range map[string]int{Kafka: o.KafkaPort, Registry: o.RegistryPort, Redis: o.RedisPort, ClickHouse: o.ClickHousePort} {
		if port < 0 || port > 65535 {
			return fmt.Errorf("the embedded %s cannot have port %d: 0 to 65535", name, port)
		}
	}
	if o.FreeBytesMin < 0 {
		return fmt.Errorf("the embedded parts cannot keep %d bytes free: 0 or more", o.FreeBytesMin)
	}
	return nil
}

func (o Options) with(part string) bool { return !slices.Contains(o.Without, part) }

// MissingError says that the ClickHouse library is not there, and the command
// that installs it. Start again with Without naming ClickHouse to go on without.
type MissingError struct{ err error }

func (e *MissingError) Error() string {
	return e.err.Error() + "; or use 'tillstream run' with a ClickHouse server of your own"
}

// Unwrap returns *chdb.MissingError or *chdb.UnsupportedError.
func (e *MissingError) Unwrap() error { return e.err }

// PortError says that a part's port is taken.
type PortError struct {
	Part string
	Port int
	err  error
}

func (e *PortError) Error() string {
	return fmt.Sprintf("port %d for the embedded %s is in use by another program: stop it, or choose another port with --%s-port (0 takes a free one)", e.Port, e.Part, e.Part)
}

// Unwrap returns the listener's error.
func (e *PortError) Unwrap() error { return e.err }

// Services are the running parts; fields of parts left out are empty.
type Services struct {
	// Brokers are Kafka's bootstrap addresses.
	Brokers     []string
	RegistryURL string
	RedisAddr   string
	// ClickHouse answers in process; ClickHouseURL is the same over a socket.
	ClickHouse    *chserver.Server
	ClickHouseURL string

	space     *space // nil without Kafka
	closers   []func() error
	closeOnce sync.Once
	closeErr  error
}

// Start starts the parts that are not left out, ClickHouse first, because its
// library wants the process to be quiet when it is loaded. Either all run or
// none. ctx bounds the start alone; Close stops the parts.
//
// Errors that callers tell apart: *LockedError, *PortError, *MissingError, *SpaceError.
func Start(ctx context.Context, o Options) (*Services, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, unusable(o.Dir, err)
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("find the data directory: %w", err)
	}
	o.Dir = dir
	s := &Services{}
	if o.with(Kafka) {
		if s.space, err = newSpace(dir, o.FreeBytesMin, o.Log.With().Str("part", Kafka).Logger()); err != nil {
			return nil, err
		}
	}
	if err := s.start(ctx, o); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Services) start(ctx context.Context, o Options) error {
	lock, err := lockDir(o.Dir)
	if err != nil {
		return err
	}
	s.closers = append(s.closers, lock.release)
	if s.space != nil {
		if err := s.space.keepReserve(); err != nil {
			return err
		}
	}
	for _, part := range []struct {
		name  string
		start func(Options) error
	}{{ClickHouse, s.startClickHouse}, {Kafka, s.startKafka}, {Registry, s.startRegistry}, {Redis, s.startRedis}} {
		if !o.with(part.name) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("start the embedded %s: %w", part.name, err)
		}
		if err := part.start(o); err != nil {
			return err
		}
	}
	if err := announce(o.Dir, s.addresses()); err != nil {
		return err
	}
	s.closers = append(s.closers, func() error { return withdraw(o.Dir) })
	o.Log.Info().Strs("kafka", s.Brokers).Str("registry", s.RegistryURL).Str("redis", s.RedisAddr).Str("clickhouse", s.ClickHouseURL).Msg("embedded parts run")
	return nil
}

// Close stops the parts in the reverse order of their start and releases the
// data directory. Further calls return the first one's error.
func (s *Services) Close() error {
	s.closeOnce.Do(func() {
		var errs []error
		for _, closer := range slices.Backward(s.closers) {
			errs = append(errs, closer())
		}
		s.closeErr = errors.Join(errs...)
	})
	return s.closeErr
}

func (s *Services) startClickHouse(o Options) error {
	// The port first: it costs nothing to find it taken.
	listener, err := listen(ClickHouse, o.ClickHousePort)
	if err != nil {
		return err
	}
	connections := o.ClickHouseConnections
	if connections == 0 {
		connections = chserver.DefaultConnections
	}
	// One more connection kills queries.
	engine, err := chdb.Open(chdb.Options{Dir: filepath.Join(o.Dir, ClickHouse), Connections: connections + 1})
	if err != nil {
		listener.Close()
		var missing *chdb.MissingError
		var unsupported *chdb.UnsupportedError
		if errors.As(err, &missing) || errors.As(err, &unsupported) {
			return &MissingError{err}
		}
		return fmt.Errorf("start the embedded clickhouse: %w", err)
	}
	s.closers = append(s.closers, engine.Close)
	server, err := chserver.New(engine, chserver.Options{Database: Database, Log: o.Log.With().Str("part", ClickHouse).Logger()})
	if err != nil {
		listener.Close()
		return fmt.Errorf("start the embedded clickhouse: %w", err)
	}
	s.closers = append(s.closers, server.Close)
	s.ClickHouse = server
	s.ClickHouseURL = "http://" + listener.Addr().String()
	s.serve(listener, server.Handler(), o.Log, ClickHouse)
	return nil
}

func (s *Services) startKafka(o Options) error {
	listener, err := listen(Kafka, o.KafkaPort)
	if err != nil {
		return err
	}
	dir, journalPath := filepath.Join(o.Dir, Kafka), filepath.Join(o.Dir, journalFile)
	fail := func(err error) error {
		listener.Close()
		return fmt.Errorf("start the embedded kafka in %s: %w", dir, err)
	}
	if err := finishTransactions(dir, journalPath, func() (*kfake.Cluster, error) { return kfake.NewCluster(s.kafkaOptions(dir, o)...) }); err != nil {
		return fail(err)
	}
	j, err := newJournal(journalPath)
	if err != nil {
		return fail(err)
	}
	handed := false
	cluster, err := kfake.NewCluster(append(s.kafkaOptions(dir, o), kfake.ListenFn(linger.Listen(func(network, address string) (net.Listener, error) {
		if !handed {
			handed = true
			return listener, nil
		}
		return net.Listen(network, address)
	})))...)
	if err != nil {
		return fail(errors.Join(err, j.close(true)))
	}
	s.space.guard(cluster)
	j.watch(cluster, s.space)
	s.Brokers = cluster.ListenAddrs()
	s.closers = append(s.closers, func() error { cluster.Close(); return j.close(s.space.broken()) })
	return nil
}

func (s *Services) kafkaOptions(dir string, o Options) []kfake.Opt {
	return []kfake.Opt{
		kfake.NumBrokers(1),
		kfake.DataDir(dir),
		kfake.SyncWrites(),
		kfake.ClusterID("tillstream-embedded"),
		kfake.DefaultNumPartitions(DefaultPartitions),
		kfake.BrokerConfigs(map[string]string{
			// Nothing that a topic did not ask for may be deleted: the log is the truth.
			"log.retention.ms": "-1",
			// kfake's compaction counts records of open transactions as the newest of their key: an image that is
			// aborted later would take a committed one with it. So changelogs only grow here.
			"log.cleaner.backoff.ms":     strconv.FormatInt(math.MaxInt32, 10),
			"log.retention.bytes":        "-1",
			"log.message.timestamp.type": "LogAppendTime",
			"message.max.bytes":          strconv.Itoa(maxMessageBytes),
			"default.replication.factor": "1",
			"min.insync.replicas":        "1",
			// Committed offsets of a group that sleeps stay for ten years.
			"offsets.retention.minutes": "5256000",
		}),
		kfake.WithLogger(kafkaLog{o.Log.With().Str("part", Kafka).Logger(), s.space}),
	}
}

// maxMessageBytes leaves room for a raw webhook body and its record.
const maxMessageBytes = 4 << 20

// kafkaLog passes on kfake's errors, and its warnings for who debugs.
type kafkaLog struct {
	log   zerolog.Logger
	space *space
}

func (l kafkaLog) Logf(level kfake.LogLevel, format string, args ...any) {
	if unwritten(format) {
		l.space.damaged(fmt.Sprintf(format, args...))
	}
	switch level {
	case kfake.LogLevelError:
		l.log.Error().Msgf(format, args...)
	case kfake.LogLevelWarn: // mostly requests that took long on a busy machine: nothing for a person to do
		l.log.Debug().Msgf(format, args...)
	default:
	}
}

func (s *Services) startRegistry(o Options) error {
	listener, err := listen(Registry, o.RegistryPort)
	if err != nil {
		return err
	}
	registry, err := openRegistry(filepath.Join(o.Dir, registryFile))
	if err != nil {
		listener.Close()
		return err
	}
	s.closers = append(s.closers, registry.close)
	s.RegistryURL = "http://" + listener.Addr().String()
	s.serve(listener, registry, o.Log, Registry)
	return nil
}

func (s *Services) startRedis(o Options) error {
	server := miniredis.NewMiniRedis()
	// Keys expire by the clock, as in a real server.
	server.ClockTTL(true)
	if err := server.StartAddr(net.JoinHostPort(loopback, strconv.Itoa(o.RedisPort))); err != nil {
		return listenError(Redis, o.RedisPort, err)
	}
	s.RedisAddr = server.Addr()
	s.closers = append(s.closers, func() error { server.Close(); return nil })
	return nil
}

// serve answers HTTP on listener until Close.
func (s *Services) serve(listener net.Listener, handler http.Handler, log zerolog.Logger, part string) {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: maxHeaderWait}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error().Err(err).Str("part", part).Msg("embedded part stopped listening")
		}
	}()
	s.closers = append(s.closers, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), maxShutdownWait)
		defer cancel()
		err := server.Shutdown(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			err = server.Close()
		}
		<-done
		return err
	})
}

func listen(part string, port int) (net.Listener, error) {
	listener, err := net.Listen("tcp", net.JoinHostPort(loopback, strconv.Itoa(port)))
	if err != nil {
		return nil, listenError(part, port, err)
	}
	return listener, nil
}

func listenError(part string, port int, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) || strings.Contains(err.Error(), "address already in use") {
		return &PortError{Part: part, Port: port, err: err}
	}
	return fmt.Errorf("listen for the embedded %s on port %d: %w", part, port, err)
}
